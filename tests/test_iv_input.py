"""Reading the files of the rows from the InternVL repository: layouts, repeated ids, and mistakes in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalkit.cli.main import main
from evalkit.data.parquet import read_parquet
from evalkit.data.root import DataRoot
from evalkit.errors import IncompleteError, UsageError
from evalkit.plugins import load_tasks
from evalkit.records import Sample
from tests.conftest import write_jsonl

LINE: dict[str, Any] = {
    "image": "x.png",
    "text": "Which?\nA. 1\nB. 2\nC. 3\nD. 4\nLetter.",
    "question_id": 7,
    "answer": "A",
}
NOTE: dict[str, Any] = {
    "question_id": "7", "question_type_id": 1, "answer": "B",
    "choice_a": "1", "choice_b": "2", "choice_c": "3", "choice_d": "4",
}  # fmt: skip
PICTURE = {"bytes": b"a picture", "path": "a.png"}
ROW: dict[str, Any] = {
    "id": "validation_Math_1", "question": " What is <image 1>? ", "options": "['1 ', ' <image 2>']",
    "question_type": "multiple-choice", "image_1": PICTURE,
} | {f"image_{number}": None for number in range(2, 8)}  # fmt: skip
GOLD = {"validation_Math_1": {"question_type": "multiple-choice", "ground_truth": "B"}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def samples_of(root: Path, task: str) -> list[Sample]:
    return list(load_tasks()[task].load(DataRoot(root)))


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_parquet(path: Path, *rows: Mapping[str, Any]) -> None:
    """As the Hub's files: images are {bytes, path} or null."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {name: image if name.startswith("image_") else pa.string() for row in rows for name in row}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(map(dict, rows)), schema=pa.schema(list(kinds.items()))), path)


def write_mme(root: Path, task: str = "", lines: str = "") -> None:
    """Write one pair of questions for each task, other lines for one."""
    for file in load_tasks()["mme"].files:
        path = root.parent / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines if path.stem == task else "1.png\tA cat?\tYes\n1.png\tA dog?\tNo\n", encoding="utf-8")


def write_seed(root: Path, lines: Sequence[Mapping[str, Any]], notes: Sequence[Mapping[str, Any]]) -> None:
    write_jsonl(root / "SEED" / "seed.jsonl", list(map(dict, lines)))
    write_json(root / "SEED" / "SEED-Bench.json", {"questions": notes, "question_type": {"Scenes": 1, "Text": 9}})


def write_mmmu(root: Path, row: Mapping[str, Any] = ROW, gold: object = GOLD) -> None:
    write_json(root / "MMMU" / "answer_dict_val.json", gold)
    write_parquet(root / "MMMU" / "Math" / "validation-00000-of-00001.parquet", row)


# Layouts


def test_mme_pictures_lie_flat_or_as_released(root: Path) -> None:
    write_mme(root)
    base = "data/mme/MME_Benchmark_release_version"
    (root / "mme" / "MME_Benchmark_release_version" / "posters" / "images").mkdir(parents=True)
    paths = {sample.id: sample.media[0].path for sample in samples_of(root, "mme")}
    assert len(paths) == 28 and list(paths)[:2] == ["existence/0", "existence/1"]
    assert paths["OCR/0"] == f"{base}/OCR/1.png"
    assert paths["posters/1"] == f"{base}/posters/images/1.png"
    (root / "mme" / "MME_Benchmark_release_version" / "posters" / "1.png").touch()
    assert samples_of(root, "mme")[8].media[0].path == f"{base}/posters/1.png"


def test_mmmu_sample(root: Path) -> None:
    write_mmmu(root, ROW | {"image_3": PICTURE})
    (sample,) = samples_of(root, "mmmu_val")
    assert sample.question == "What is <image 1>?\nA. 1\nB. <image 2>"
    file = "data/MMMU/Math/validation-00000-of-00001.parquet"
    assert [(media.kind, media.path) for media in sample.media] == [
        ("row", f"{file}#0/image_1"),
        ("row", f"{file}#0/image_3"),
    ]
    assert (sample.form, sample.references, sample.group) == ("choice", ("B",), f"{file}#0/image_1")
    assert (sample.subset, sample.more_subsets) == ("Math", ("Overall-Science",))


def test_mmmu_has_six_domains_of_30_subjects_in_alphabetical_order() -> None:
    labels, *files = load_tasks()["mmmu_val"].files
    assert labels == "data/MMMU/answer_dict_val.json"
    assert len(files) == 30 and files == sorted(files)


def test_seed_leaves_videos_out_and_numbers_repeated_ids(root: Path) -> None:
    lines = [LINE, LINE | {"question_id": "v1"}, LINE, LINE | {"question_id": 8}, LINE]
    last = NOTE | {"answer": "C", "question_type_id": 9}
    write_seed(root, lines, [NOTE, last, NOTE | {"question_id": "8"}])
    samples = samples_of(root, "seed_image")
    assert [sample.id for sample in samples] == ["7", "7#2", "8", "7#3"]
    assert [sample.references[0] for sample in samples] == ["C", "C", "B", "C"], "officially the last annotation counts"
    assert [sample.fields["own"] for sample in samples] == ["B", "C", "B", "C"]
    assert [sample.subset for sample in samples] == ["Text", "Text", "Scenes", "Text"]


def test_parquet_reads_no_other_column_and_no_picture(root: Path) -> None:
    file = root / "a.parquet"
    write_parquet(file, {"id": "a", "more": "x", "image_1": {"bytes": b"x" * 100, "path": None}, "image_2": None})
    (record,) = read_parquet(file, "data/a.parquet", ["id"], ["image_1", "image_2"])
    assert record.data == {"id": "a", "image_1": True, "image_2": False}
    assert record.where == f"{file}: row 0"


def test_infovqa_rows_of_the_hub_are_written_in_the_official_layout(root: Path) -> None:
    """Images are named by their content: the Hub does not say their names."""
    row = {
        "questionId": "98000",
        "question": "How many?",
        "image": {"bytes": b"x", "path": None},
        "answers": ["2", "two"],
    }
    task = load_tasks()["infovqa_val"]
    assert task.hub is not None and (task.hub.repo, task.hub.config) == ("lmms-lab/DocVQA", "InfographicVQA")
    assert task.hub.write([row, row | {"questionId": "98003"}], DataRoot(root)) == 2
    first, second = samples_of(root, "infovqa_val")
    assert (first.id, first.references, second.id) == ("98000", ("2", "two"), "98003")
    assert first.media == second.media and (root.parent / first.media[0].path).read_bytes() == b"x"


# Mistakes


def assert_refused(root: Path, task: str, capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    """The command line says what is wrong, where, in one line."""
    assert main(["show", task, "--data-root", str(root)]) == UsageError.exit_code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(part in said for part in parts), said


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ("1.png\tA cat?\n", ("OCR.txt:1", "a picture, a question and Yes or No")),
        ("1.png\tA cat?\tYes\n1.png\tA dog?\tMaybe\n", ("OCR.txt:2", "Yes or No")),
        ("1.png\tA cat?\tYes\n", ("OCR.txt:1", "two questions")),
        ("1.png\tA?\tYes\n2.png\tB?\tYes\n1.png\tA?\tNo\n2.png\tB?\tNo\n", ("OCR.txt:1", "one after the other")),
        ("1.png\tA?\tYes\n1.png\tB?\tNo\n" * 2, ("OCR.txt:1", "two questions")),
        ("", ("OCR.txt:1",)),
    ],
)
def test_mme_mistakes(lines: str, parts: tuple[str, ...], root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mme(root, "OCR", lines)
    assert_refused(root, "mme", capsys, *parts)


@pytest.mark.parametrize(
    ("changed", "gold", "parts"),
    [
        ({"options": "['a'"}, GOLD, ("Math", "row 0", "'options' must be a list of at most 26 texts")),
        ({"options": "[1]"}, GOLD, ("'options' must be a list of at most 26 texts",)),
        ({"options": "__import__('os')"}, GOLD, ("'options' must be a list of at most 26 texts",)),
        ({"options": str(["x"] * 27)}, GOLD, ("at most 26 texts",)),
        ({"options": None}, GOLD, ("'options' must be a string",)),
        ({"question_type": "open"}, GOLD, ("'open'", "answer_dict_val.json")),
        ({"question_type": "riddle"}, GOLD, ("'riddle'",)),
        ({"image_1": None}, GOLD, ("image_1 holds no image",)),
        ({}, {}, ("validation_Math_1 has no gold answer", "answer_dict_val.json")),
        ({}, {"validation_Math_1": "B"}, ("answer_dict_val.json", "must be a JSON object")),
    ],
)
def test_mmmu_mistakes(
    changed: dict[str, Any], gold: object, parts: tuple[str, ...], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mmmu(root, ROW | changed, gold)
    assert_refused(root, "mmmu_val", capsys, *parts)


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ({"id": "a", "question": "b"}, "needs one column 'options'; the file has id, question"),
        ({**ROW, "image_1": "a.png"}, "column 'image_1' must hold images"),
    ],
)
def test_parquet_of_another_schema(
    rows: Mapping[str, Any], part: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mmmu(root)
    file = root / "MMMU" / "Math" / "validation-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist([dict(rows)]), file)
    assert_refused(root, "mmmu_val", capsys, "Math/validation-00000-of-00001.parquet", part)
    file.write_bytes(b"PAR1 no")
    assert_refused(root, "mmmu_val", capsys, "not a readable Parquet file")
    file.unlink()
    with pytest.raises(IncompleteError):
        next(read_parquet(file, "data/a.parquet", ["id"]))


@pytest.mark.parametrize(
    ("line", "note", "parts"),
    [
        (LINE | {"question_id": 9}, NOTE, ("seed.jsonl:1", "question 9 is not in")),
        (LINE, NOTE | {"question_type_id": 5}, ("SEED-Bench.json", "record 0", "'question_type_id' 5")),
        (LINE, {"question_id": "7", "question_type_id": 1, "answer": "B"}, ("no key 'choice_a'",)),
    ],
)
def test_seed_mistakes(
    line: Mapping[str, Any], note: Mapping[str, Any], parts: tuple[str, ...], root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_seed(root, [line], [note])
    assert_refused(root, "seed_image", capsys, *parts)


def test_mmvet_mistakes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line: dict[str, object] = {"image": "v1_0.png", "text": "Who?", "question_id": 0}
    write_jsonl(root / "mm-vet" / "llava-mm-vet.jsonl", [line])
    gold = {"question": "Who?", "answer": "me", "capability": ["rec"]}
    write_json(root / "mm-vet" / "mm-vet.json", {"v1_1": gold})
    assert_refused(root, "mmvet", capsys, "llava-mm-vet.jsonl:1", "question 0 is not in", "mm-vet.json", "'v1_0'")
    write_json(root / "mm-vet" / "mm-vet.json", {"v1_0": gold})
    assert [sample.more_subsets for sample in samples_of(root, "mmvet")] == [("rec",)]
    write_jsonl(root / "mm-vet" / "llava-mm-vet.jsonl", [line, line])
    assert_refused(root, "mmvet", capsys, "id '0' occurs twice")
