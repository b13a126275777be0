"""VLMEvalKit's published xlsx records as predictions."""

from __future__ import annotations

import json
from pathlib import Path

import openpyxl
import pytest

from evalkit.errors import UsageError
from evalkit.runs.store import read_predictions
from tests.conftest import Cli


def write(path: Path, *rows: list[object]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(path)
    return path


def test_cells_become_texts(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["question", "prediction", "index"],
        ["?", "a kite", 1],
        ["?", None, "x_2"],
        ["?", 3, 4.0],
        ["?", 2.5, 5],
    ]
    read = read_predictions(write(tmp_path / "a.xlsx", *rows, [None, None, None]), foreign=True)
    assert {key: one.response for key, one in read.items()} == {"1": "a kite", "x_2": "", "4": "3", "5": "2.5"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["index", "answer"], [1, "x"]], "needs the columns 'index' and 'prediction'; it has index, answer"),
        ([], "needs the columns"),
        ([["index", "prediction"], [None, "x"]], "row 2: no index"),
        ([["index", "prediction"], [1, "x"], [1, "y"]], "row 3: id '1' occurs twice"),
        ([["index", "prediction"], [7, "x"]], "row 2: id '7' is not in the task's data"),
    ],
)
def test_bad_records_are_one_line(rows: list[list[object]], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_predictions(write(tmp_path / "a.xlsx", *rows), ["1"], foreign=True)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_no_workbook(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("index\tprediction\n")
    with pytest.raises(UsageError, match="not an Excel workbook"):
        read_predictions(tmp_path / "a.xlsx", foreign=True)
    with pytest.raises(UsageError, match="No such file"):
        read_predictions(tmp_path / "absent.xlsx", foreign=True)


@pytest.mark.shared_data
@pytest.mark.parametrize("task", ["ocrbench", "realworldqa"])
def test_a_published_record_scores_as_the_same_answers_in_jsonl(task: str, cli: Cli, shared: Path) -> None:
    summaries = []
    for suffix in ("jsonl", "xlsx"):
        predictions = shared / "data" / "predictions" / "vila-13b" / f"{task}.{suffix}"
        root = shared / "data" / "root"
        done = cli("score", "--task", task, "--predictions", predictions, "--data-root", root, "--json")
        assert done.returncode == 0, done.stderr
        summaries.append(json.loads(done.stdout))
    assert summaries[0] == summaries[1]
