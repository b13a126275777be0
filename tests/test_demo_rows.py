"""The demo's samples of the other rows: official layouts, pictures that decode, and a judge for all that need one."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from pathlib import Path
from random import Random

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evalkit.cli.main import main
from evalkit.data.root import DataRoot
from evalkit.demo import JUDGES
from evalkit.media.load import load
from evalkit.plugins import load_tasks
from evalkit.records import View
from scripts.demo.files import JUDGE
from scripts.demo.films import DURATIONS
from scripts.demo.internvl import MME
from scripts.demo.layout import COUNTS, SHARING, write_all
from scripts.demo.lmudata import READING, STAR
from scripts.demo.pictures import KINDS, PICTURES, answer, picture, similar, wrong
from scripts.demo.shared_sets import SUBJECTS
from tests.conftest import write_jsonl

JUDGED = ("mmvet", "mmvet_turbo", "mathvista_testmini", "mmbench_video_8f", "mmbench_video_16f")
TASKS = (
    "infovqa_val", "infovqa_test", "ai2d_test", "ai2d_test_no_mask", "mme", "mmmu_val", "mmmu_val_vlmevalkit",
    "seed_image", "ocrbench", "realworldqa", "hallusionbench", "mmstar", "ai2d_test_vlmevalkit",
    "mmbench_test_en_v11", "mmbench_test_cn_v11", "videomme_wo_subs", "videomme_w_subs", *JUDGED,
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rows")
    write_all(out, {name: COUNTS[name] for name in SHARING})
    return out


def table(root: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(root / "data" / "LMUData" / f"{name}.tsv", sep="\t", dtype=str, keep_default_na=False)


def mode(content: bytes) -> str:
    with Image.open(io.BytesIO(content)) as image:
        return str(image.mode)


@pytest.mark.parametrize("name", TASKS)
def test_the_plugins_read_some_samples_and_every_picture_decodes(name: str, root: Path) -> None:
    task, data = load_tasks()[name], DataRoot(root)
    samples = list(task.load(data))
    assert 8 <= len(samples) <= 60
    assert all(sample.question.strip() and bool(sample.references) == task.labelled for sample in samples)
    for media in {media for sample in samples for media in sample.media}:
        frames = 8 if media.kind == "video" else 0
        pixels = load(View(media, 112, 1, True, frames, "even_step"), data)
        assert len(pixels) == max(1, frames) and all(tiles.std() > 5 for tiles in pixels)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_question_has_one_right_option(kind: str) -> None:
    for number in range(PICTURES):
        assert (
            picture(kind, number).image.tobytes()
            == KINDS[kind](Random(f"evalkit demo picture {kind} {number}")).image.tobytes()
        )
        for question in picture(kind, number).questions:
            options = [option.en for option in question.options]
            assert len(set(options)) == len(options) in (2, 4) and question.text.en
            assert answer(question) != wrong(question)


@pytest.mark.parametrize("right", ["12 March", "$45", "Lamps", "7", "red", "82 ml"])
def test_wrong_answers_have_the_form_of_the_right_one(right: str) -> None:
    found = similar(Random(1), right)
    assert len({*found, right}) == 4 and {len(one.split()) for one in found} == {len(right.split())}
    assert all(one[0] == "$" for one in found) == (right[0] == "$")


def test_mme_asks_for_yes_and_no_about_every_picture(root: Path) -> None:
    for task in MME:
        text = (root / "data" / "mme" / "Your_Results" / f"{task}.txt").read_text(encoding="utf-8")
        rows = [line.split("\t") for line in text.splitlines()]
        assert [row[2] for row in rows] == ["Yes", "No"] * COUNTS["mme"]
        assert all(row[1].endswith(" Please answer yes or no.") for row in rows)
        assert [row[0] for row in rows[::2]] == [row[0] for row in rows[1::2]]


def test_mmmu_is_the_same_in_both_layouts(root: Path) -> None:
    cells = table(root, "MMMU_DEV_VAL").query("split == 'validation'").to_dict("records")
    gold = json.loads((root / "data" / "MMMU" / "answer_dict_val.json").read_text(encoding="utf-8"))
    numbers, modes, kinds, lossless = [], set(), Counter[str](), 0
    for subject, cell in zip(SUBJECTS, cells, strict=True):
        (row,) = pq.read_table(root / "data/MMMU" / subject / "validation-00000-of-00001.parquet").to_pylist()
        images = [row[f"image_{place}"]["bytes"] for place in range(1, 8) if row[f"image_{place}"]]
        assert [base64.b64decode(image) for image in json.loads(cell["image"].replace("'", '"'))] == images
        assert (row["question"], row["answer"]) == (cell["question"], cell["answer"])
        assert gold[row["id"]]["ground_truth"] == row["answer"]
        options = [cell[letter] for letter in "ABCD" if cell[letter]]
        assert row["options"] == repr(options) and (row["question_type"] == "open") == (not options)
        assert all(f"<image {place}>" in row["question"] for place in range(1, len(images) + 1))
        numbers.append(len(images))
        modes |= {mode(image) for image in images}
        kinds[row["question_type"]] += 1
        lossless += ".png" in cell["image_path"]
    assert set(numbers) == {1, 2, 3} and modes == {"P", "RGB"}
    assert kinds["open"] == 3 and lossless == 1 and len(table(root, "MMMU_DEV_VAL")) == len(SUBJECTS) + 1


def test_hallusionbench_figures_of_a_set_have_opposite_answers(root: Path) -> None:
    rows = table(root, "HallusionBench")
    groups = rows.groupby([rows["l2-category"], rows["index"].str[-1]])
    assert all(sorted(group["answer"]) == ["No", "Yes"] and group["question"].nunique() == 1 for _, group in groups)
    assert rows["image"].nunique() == len(rows) / 2


def test_categories_of_the_tables(root: Path) -> None:
    assert {*table(root, "OCRBench")["category"]} == {*READING}
    star = table(root, "MMStar")
    assert {*star["category"]} == {*STAR}
    assert [any("\u4e00" <= char <= "\u9fff" for char in text) for text in star["question"]].count(True) == 1
    capabilities = {name for cell in table(root, "MMVet")["category"] for name in cell.split(",")}
    assert capabilities == {"rec", "ocr", "know", "gen", "spat", "math"}


@pytest.mark.parametrize("name", ["MMBench_TEST_EN_V11", "MMBench_TEST_CN_V11"])
def test_rotations_name_the_row_with_their_picture(name: str, root: Path) -> None:
    rows = table(root, name)
    turned = rows["index"].astype(int) >= 1_000_000
    assert turned.any() and (rows["image"].str.len() > 64).tolist() == (~turned).tolist()
    assert (rows["image"][turned].astype(int) == rows["index"][turned].astype(int) % 1_000_000).all()


def test_masked_and_unmasked_diagrams_differ_where_letters_are_asked_for(root: Path) -> None:
    folder = root / "data" / "ai2diagram"
    cells = table(root, "AI2D_TEST").set_index("index")
    for path in sorted((folder / "AI2D_TEST").iterdir()):
        other = folder / "AI2D_TEST_NO_MASK" / path.name
        edited = cells.loc[path.stem, "abcLabel"] == "True"
        assert (path.read_bytes() != other.read_bytes()) == edited
        assert base64.b64decode(str(cells.loc[path.stem, "image"])) == path.read_bytes()


def test_clips_have_every_duration_and_some_have_subtitles(root: Path) -> None:
    folder = root / "data" / "LMUData" / "Video-MME"
    rows = table(root, "Video-MME/Video-MME")
    assert {*rows["duration"]} == {*DURATIONS}
    found = [(folder / path).is_file() for path in dict.fromkeys(rows["subtitle_path"])]
    assert found.count(False) == 1 and found.count(True) == 2
    assert all((folder / path).is_file() for path in rows["video_path"])


def test_the_made_up_judge_has_a_reply_for_every_answer(root: Path, tmp_path: Path) -> None:
    for name in JUDGED:
        samples = load_tasks()[name].load(DataRoot(root))
        lines: list[dict[str, object]] = [{"id": one.id, "response": "It is 5 or so."} for one in samples]
        write_jsonl(tmp_path / "answers" / name / "predictions.jsonl", lines)
    run = tmp_path / "run"
    arguments = ["--tasks", ",".join(JUDGED), "--data-root", str(root), "--out", str(run)]
    assert main(["run", "--model", f"replay:{tmp_path / 'answers'}", *arguments]) == 0, "the judge comes next"
    assert main(["judge", str(run), "--judge", f"replay:{root / JUDGES}"]) == 0
    for name, found in json.loads((run / "scores.json").read_text(encoding="utf-8")).items():
        assert found["score"] > 0 and found["judge"]["name"] == JUDGE, name
