"""Submission files: complete, and every text survives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from openpyxl import load_workbook

from evalkit.data.submission import write_xlsx
from evalkit.errors import UsageError
from tests.conftest import Cli, write_jsonl


@pytest.mark.parametrize(
    "text", ["=1+1", "NA", "None", "+cmd", "@x", "-2", "1e5", "007", "北京", "a\nb", "https://x.y/" + "z" * 3000]
)
def test_texts_survive_a_round_trip(text: str, tmp_path: Path) -> None:
    write_xlsx(tmp_path / "t.xlsx", ["index", "prediction"], [(7, text), (8, None)])
    rows = list(load_workbook(tmp_path / "t.xlsx")["Sheet1"].iter_rows())
    assert [cell.value for cell in rows[1]] == [7, text]
    assert rows[1][1].data_type == "s" and rows[2][1].value is None


def test_too_long_a_text_is_refused_not_cut(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="40000 characters"):
        write_xlsx(tmp_path / "t.xlsx", ["a"], [("x" * 40_000,)])
    assert not (tmp_path / "t.xlsx").exists()


@pytest.fixture(scope="module")
def run(demo: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of recorded answers: "=#REF!" to everything."""
    folder = tmp_path_factory.mktemp("submission")
    out = folder / "run"
    for task in ("docvqa_test", "mmbench_test_en", "mmbench_dev_en", "ccbench_dev", "textvqa_val"):
        shown = json.loads(cli("show", task, "--data-root", demo, "--json").stdout)
        answers: list[dict[str, object]] = [{"id": entry["id"], "response": "=#REF!"} for entry in shown]
        predictions = write_jsonl(folder / f"{task}.jsonl", answers)
        done = cli("score", "--task", task, "--predictions", predictions, "--data-root", demo, "--out", out)
        assert done.returncode == 0, done.stderr
    return out


def test_docvqa(run: Path, demo: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli("submit", run, "docvqa_test", "--out", tmp_path / "answers.json")
    assert done.returncode == 0, done.stderr
    records = json.loads((tmp_path / "answers.json").read_text())
    lines = (demo / "data" / "docvqa" / "test.jsonl").read_text().splitlines()
    assert records == [{"questionId": json.loads(line)["question_id"], "answer": "=#REF!"} for line in lines]


OPTIONS = ["index", "question", "A", "B", "C", "D"]


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        ("mmbench_test_en", [*OPTIONS, "prediction", "split"]),
        ("mmbench_dev_en", [*OPTIONS, "prediction", "answer", "split"]),
        ("ccbench_dev", [*OPTIONS, "answer", "source", "prediction"]),
    ],
)
def test_mmbench(task: str, columns: list[str], run: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli("submit", run, task, "--out", tmp_path / "answers.xlsx")
    assert done.returncode == 0, done.stderr
    head, *rows = load_workbook(tmp_path / "answers.xlsx")["Sheet1"].iter_rows(values_only=True)
    assert list(head) == columns
    ids = [json.loads(line)["id"] for line in (run / task / "predictions.jsonl").read_text().splitlines()]
    assert [str(row[0]) for row in rows] == ids
    assert {row[columns.index("prediction")] for row in rows} == {"=#REF!"}


def test_incomplete_or_unknown(run: Path, cli: Cli, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(run, part)
    predictions = part / "docvqa_test" / "predictions.jsonl"
    predictions.write_text("\n".join(predictions.read_text().splitlines()[1:]) + "\n")
    done = cli("submit", part, "docvqa_test", "--out", tmp_path / "answers.json")
    assert done.returncode == 3 and "have no answer" in done.stderr and not (tmp_path / "answers.json").exists()
    assert cli("submit", run, "textvqa_val", "--out", tmp_path / "x").returncode == 2
    assert cli("submit", run, "mvbench", "--out", tmp_path / "x").returncode == 2


def test_a_score_from_a_server_is_kept_and_marked(run: Path, cli: Cli, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    done = cli("score", copy, "--server-score", "docvqa_test=81.7", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)["docvqa_test"]
    assert summary["server_score"] == 81.7 and summary["score"] is None
    assert json.loads(cli("score", copy, "--json").stdout)["docvqa_test"]["server_score"] == 81.7
    shown = cli("table", copy).stdout
    assert "server score 81.7" in shown
    line = next(line for line in shown.splitlines() if line.startswith("| DocVQA test"))
    assert [cell.strip() for cell in line.split("|")][6] == "81.7"
    assert cli("score", copy, "--server-score", "textvqa_val=3").returncode == 2
    assert cli("score", copy, "--server-score", "docvqa_test=much").returncode == 2
    assert cli("score", copy, "--server-score", "nobody=3").returncode == 2
