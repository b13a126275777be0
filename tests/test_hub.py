"""``data fetch``: rows in the Hub's shape become the official layout, pixels untouched (a local clone stands in)."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evalkit.data.root import DataRoot
from evalkit.plugins import load_tasks
from tests.conftest import Cli


def picture(colour: str, kind: str = "PNG") -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, kind)
    return {"bytes": buffer.getvalue(), "path": None}


RED, BLUE, PHOTO = picture("red"), picture("blue"), picture("green", "JPEG")

ROWS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "docvqa_val": (
        "DocVQA/validation",
        [
            {
                "questionId": str(number),
                "question": f"q{number}?",
                "image": RED,
                "answers": ["a", "A."],
                "ucsf_document_id": "abcd0001",
                "ucsf_document_page_no": "3",
            }
            for number in (49153, 49154)
        ],
    ),
    "chartqa_test_augmented": (
        "test",
        [
            {"type": "human_test", "question": "h?", "answer": "1", "image": RED},
            {"type": "augmented_test", "question": "a?", "answer": "2", "image": BLUE},
        ],
    ),
    "textvqa_val": (
        "validation",
        [{"question_id": 34602, "image_id": "003a", "question": "brand?", "image": PHOTO, "answers": ["dakota"] * 10}],
    ),
    "mmbench_dev_cn": (
        "cn/dev",
        [
            {
                "index": 1_000_002,
                "question": "哪个?",
                "hint": None,
                "answer": "B",
                "A": "x",
                "B": "y",
                "C": None,
                "D": None,
            }
            | {"category": "c", "image": RED, "source": "s", "L2-category": "l", "comment": "", "split": "dev"}
        ],
    ),
    "refcoco_testA": (
        "testA",
        [
            {
                "file_name": "COCO_train2014_000000000072_16.jpg",
                "bbox": [10.0, 5.0, 20.0, 30.0],
                "answer": ["left man", "man in red"],
                "image": PHOTO,
            }
        ],
    ),
}


def clone(folder: Path, place: str, rows: list[dict[str, Any]]) -> Path:
    """Write a dataset repository with one split, as datasets stores it on the Hub."""
    from datasets import Dataset
    from datasets import Image as ImageFeature

    *config, split = place.split("/")
    name = config[0] if config else "default"
    data = Dataset.from_list(rows).cast_column("image", ImageFeature())
    file = folder / name / f"{split}-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    data.to_parquet(str(file))
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: {name}\n  data_files:\n  - split: {split}\n    path: {name}/{split}-*\n---\n"
    )
    return folder


@pytest.mark.parametrize("task", ROWS)
def test_fetched_samples_load(task: str, cli: Cli, tmp_path: Path) -> None:
    place, rows = ROWS[task]
    source = clone(tmp_path / "clone", place, rows)
    root = tmp_path / "root"
    done = cli("data", "fetch", task, "--data-root", root, "--source", source, "--revision", "abc")
    assert done.returncode == 0, done.stderr
    samples = list(load_tasks()[task].load(DataRoot(root)))
    record = json.loads((root / "evalkit-fetch.json").read_text())[task]
    assert record["revision"] == "abc"
    checked = json.loads(cli("data", "check", task, "--data-root", root, "--json").stdout)[0]
    assert checked["complete"] and checked["n"] == len(samples)
    shown = {
        "docvqa_val": lambda: (
            [(s.id, s.question, s.references) for s in samples]
            == [("49153", "q49153?", ("a", "A.")), ("49154", "q49154?", ("a", "A."))]
        ),
        "chartqa_test_augmented": lambda: [(s.id, s.question, s.references) for s in samples] == [("0", "a?", ("2",))],
        "textvqa_val": lambda: samples[0].references == ("dakota",) * 10,
        "mmbench_dev_cn": lambda: samples[0].question == "哪个?\nA. x\nB. y" and samples[0].references == ("B",),
        "refcoco_testA": lambda: (
            [(s.question, s.references) for s in samples]
            == [("left man", ((10.0, 5.0, 30.0, 35.0),)), ("man in red", ((10.0, 5.0, 30.0, 35.0),))]
        ),
    }
    assert shown[task]()
    stored = {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.suffix in (".png", ".jpg")
    }
    for path in root.rglob("*.tsv"):
        cells = dict(zip(*[line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()], strict=True))
        stored.add(hashlib.sha256(base64.b64decode(cells["image"])).hexdigest())
    assert hashlib.sha256(rows[-1]["image"]["bytes"]).hexdigest() in stored


def test_a_task_without_a_copy_says_where_to_get_it(cli: Cli, tmp_path: Path) -> None:
    done = cli("data", "fetch", "mvbench", "--data-root", tmp_path)
    assert done.returncode == 2 and "OpenGVLab/MVBench" in done.stderr


def test_a_source_that_is_no_dataset(cli: Cli, tmp_path: Path) -> None:
    done = cli("data", "fetch", "textvqa_val", "--data-root", tmp_path / "root", "--source", tmp_path / "none")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "cannot be fetched" in done.stderr
