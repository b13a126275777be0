"""Unusual files of the card's rows: indices, images, judge records, subtitles and undefined parts of a score."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from evalkit.data.lmu import lmu_rows
from evalkit.data.parquet import read_parquet
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.integrity import check_lines, check_tasks
from evalkit.judging import Exchange, Judged
from evalkit.media.load import probe
from evalkit.media.rows import has_images
from evalkit.plugins import load_tasks
from evalkit.records import Media, Outcome, Response, Sample, View
from evalkit.runs.store import read_predictions
from evalkit.scoring import score_task
from tests.conftest import Cli, write_jsonl

FILE = "data/LMUData/RealWorldQA.tsv"


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "PNG")
    return file.getvalue()


IMAGE = base64.b64encode(png()).decode()


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    (tmp_path / "data" / "LMUData").mkdir(parents=True)
    return DataRoot(tmp_path)


def write(root: DataRoot, *rows: str, head: str = "index\tquestion\tA\tB\tanswer\timage") -> None:
    root.resolve(FILE).write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


@pytest.mark.parametrize("index", ["000", "a#0", "x/1"])
def test_an_image_is_found_by_the_index_as_it_is_written(index: str, root: DataRoot) -> None:
    write(root, f"{index}\twhich?\tred\tblue\tA\t{IMAGE}")
    (row,) = lmu_rows(root, FILE)
    assert row.id == ("0" if index == "000" else index), "as pandas shows it"
    assert probe(View(row.media[0], 28, 1, False, 0, "segment_middle"), root) is not None


@pytest.mark.parametrize("rows", [(), ("0\twhich?\tred\tblue\tA\t",), ("0\twhich?\tred\tblue\tA\t[]",)])
def test_a_table_without_a_usable_row_is_one_line(rows: tuple[str, ...], root: DataRoot) -> None:
    write(root, *rows)
    with pytest.raises(UsageError, match=r"RealWorldQA\.tsv: no row"):
        lmu_rows(root, FILE)


def test_a_byte_order_mark_does_not_hide_the_image_column(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("image\tindex\n", encoding="utf-8-sig")
    assert has_images(tmp_path / "m.tsv")


def test_a_parquet_cell_of_nothing_is_no_image(tmp_path: Path) -> None:
    cells = [{"bytes": png(), "path": None}, {"bytes": None, "path": None}, None, {"bytes": png(), "path": "a.png"}]
    pyarrow.parquet.write_table(pyarrow.table({"image": cells}), tmp_path / "m.parquet")
    rows = read_parquet(tmp_path / "m.parquet", "m.parquet", (), ("image",))
    assert [row.data["image"] for row in rows] == [True, False, False, True]


def test_choices_that_are_no_list_are_one_line(root: DataRoot) -> None:
    head = "index\tquestion\tquestion_type\tanswer_type\tchoices\tanswer\tanswer_option\ttask\tskills"
    file = root.base / "LMUData" / "MathVista_MINI.tsv"
    file.write_text(f"{head}\n1\twhich?\tmulti_choice\ttext\ta, b\ta\tA\tgeometry\t['x']\n")
    with pytest.raises(UsageError, match=r"'choices' must be a list of two or more, not 'a, b'"):
        list(load_tasks()["mathvista_testmini"].load(root))


def test_one_undefined_part_of_mme_does_not_undo_the_others() -> None:
    task, samples = load_tasks()["mme"], []
    for part in ("OCR", "count"):
        for place, gold in enumerate(("yes", "no")):
            keys = {"task": part, "image": f"{part}/0"}
            samples.append(Sample(f"{part}/{place}", "?", (), (gold,), f"{part}/0", part, keys=keys))
    said = {"OCR/0": "yes\tx", "OCR/1": "no\ty", "count/0": "yes", "count/1": "no"}
    scores = score_task(task, samples, {key: Response(key, answer) for key, answer in said.items()})
    assert scores.summary.score == 200 and scores.summary.metrics["perception"]["score"] == 200
    assert [line.reason for line in scores.lines if line.id.startswith("OCR")] == [
        "a tab: the official accuracy leaves the answer out"
    ] * 2


@pytest.mark.parametrize("replies", [(None,) * 25, ("hm",) * 5, ()])
def test_a_useless_judge_leaves_the_fixed_score_as_it_is(replies: tuple[str | None, ...]) -> None:
    task = load_tasks()["hallusionbench"]
    sample = Sample("a_b_c_0_0_0", "?", (), ("Yes",), "g", keys={"figure": "f", "question": "q"})
    response = {sample.id: Response(sample.id, "yes.Then maybe")}
    (alone,) = score_task(task, [sample], response).lines
    (judged,) = score_task(task, [sample], response, Judged("j", {sample.id: Exchange(replies)})).lines
    assert (alone.value, alone.fixed, alone.outcome) == (0, 1, Outcome.UNPARSED)
    assert (judged.value, judged.fixed, judged.outcome) == (0, 1, Outcome.UNJUDGED)


def workbook(path: Path, *, streamed: bool) -> Path:
    book = openpyxl.Workbook(write_only=streamed)
    sheet = book.create_sheet("a", 0)
    for row in (["index", "prediction"], [1, "x"], [2]):
        sheet.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize("streamed", [True, False])
def test_a_short_row_of_an_xlsx_is_an_empty_answer(streamed: bool, tmp_path: Path) -> None:
    read = read_predictions(workbook(tmp_path / "a.xlsx", streamed=streamed), foreign=True)
    assert {key: one.response for key, one in read.items()} == {"1": "x", "2": ""}


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"])
def test_a_damaged_xlsx_is_one_line(part: str, tmp_path: Path) -> None:
    whole = workbook(tmp_path / "a.xlsx", streamed=False)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[:60] if name == part else old.read(name))
    with pytest.raises(UsageError, match="not an Excel workbook"):
        read_predictions(tmp_path / "b.xlsx", foreign=True)


@pytest.mark.parametrize("extra", [{"replies": ["\ud800"]}, {"replies": [], "model": "\udfff"}, {"note": "\ud800"}])
def test_text_that_no_file_can_hold_is_one_line(extra: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "J.jsonl").write_text(json.dumps({"id": "1", "response": "x"} | extra) + "\n")
    with pytest.raises(UsageError, match=r"J\.jsonl:1: contains an unpaired surrogate"):
        read_predictions(tmp_path / "J.jsonl", foreign=True)


def test_a_judgement_of_an_answer_that_is_missing_is_not_read(cli: Cli, root: DataRoot, tmp_path: Path) -> None:
    write(root, *(f"{index}\twhich?\tred\tblue\tA\t{IMAGE}" for index in range(2)))
    predictions = write_jsonl(tmp_path / "P.jsonl", [{"id": "0", "response": "hm"}])
    record = write_jsonl(tmp_path / "J.jsonl", [{"id": str(index), "replies": ["A"]} for index in range(2)])
    args = [
        "--task",
        "realworldqa",
        "--predictions",
        predictions,
        "--data-root",
        tmp_path,
        "--judged",
        record,
        "--json",
    ]
    done = cli("score", *args, "--allow-missing")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["realworldqa"]["score"] == 50


def test_data_check_counts_subtitles_and_names_broken_ones(demo_rows: Path) -> None:
    task, root = load_tasks()["videomme_w_subs"], DataRoot(demo_rows)
    folder = root.resolve("data/LMUData/Video-MME/subtitle")
    assert "  subtitles for 2 of 3 videos (officially 744 of 900)" in list(check_lines(check_tasks([task], root)))
    next(folder.iterdir()).write_text("no subtitles at all")
    (row,) = check_tasks([task], root)
    assert "not a file of subtitles" in row["error"] and not row["complete"]


@pytest.fixture
def demo_rows(tmp_path: Path) -> Path:
    from evalkit.demo import write_demo

    return write_demo(tmp_path / "demo").data_root


def test_media_paths_keep_their_table(root: DataRoot) -> None:
    write(root, f"7\twhich?\tred\tblue\tA\t{IMAGE}")
    (row,) = lmu_rows(root, FILE)
    assert row.media == (Media(f"{FILE}#7", "row"),)


def test_a_wrong_dimension_of_an_xlsx_hides_nothing(tmp_path: Path) -> None:
    whole = workbook(tmp_path / "a.xlsx", streamed=False)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'ref="A1:B3"', b'ref="A1"'))
    assert list(read_predictions(tmp_path / "b.xlsx", foreign=True)) == ["1", "2"]
