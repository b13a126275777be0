"""The rows from the InternVL repository: golden scores, recorded answers, the judge's requests, submission files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli.main import main
from tests.conftest import write_jsonl

pytestmark = pytest.mark.shared_data

# The golden MMMU has 7 of 30 subjects; two of MM-Vet's answers never get a usable grade.
GOLDEN = {
    "infovqa_val": 0,
    "ai2d_test": 0,
    "ai2d_test_no_mask": 0,
    "mme": 0,
    "mmmu_val": 3,
    "seed_image": 0,
    "mmvet": 3,
}

Scored = tuple[int, dict[str, Any], dict[str, dict[str, Any]]]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scored(
    capsys: pytest.CaptureFixture[str], out: Path, task: str, predictions: Path, root: Path, judged: Path | None = None
) -> Scored:
    """Score from the command line; returns exit code, summary and score lines by id."""
    args = ["score", "--task", task, "--predictions", predictions, "--data-root", root, "--out", out, "--json"]
    code = main([str(arg) for arg in (*args, *(("--judged", judged) if judged else ()))])
    summary = json.loads(capsys.readouterr().out)[task]
    return code, summary, {line["id"]: line for line in rows_of(out / task / "scores.jsonl")}


@pytest.fixture(scope="module")
def expected(shared: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shared / "golden_iv" / "expected.json").read_text())
    return content


def golden(capsys: pytest.CaptureFixture[str], shared: Path, out: Path, task: str) -> Scored:
    iv = shared / "golden_iv"
    judged = iv / "judge" / "mmvet.jsonl" if task == "mmvet" else None
    return scored(capsys, out, task, iv / "predictions" / f"{task}.jsonl", iv / "root", judged)


@pytest.mark.parametrize("task", GOLDEN)
def test_golden_scores(
    task: str, expected: dict[str, Any], shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, summary, lines = golden(capsys, shared, tmp_path, task)
    want = expected[task]
    assert code == GOLDEN[task]
    assert summary["score"] == pytest.approx(want["score"], abs=1e-9)
    assert {key: line["value"] for key, line in lines.items()} == pytest.approx(want["per"], abs=1e-9)
    assert sum(summary["outcomes"].values()) == summary["n"] == len(want["per"])
    subsets = {name: part["score"] for name, part in summary["subsets"].items() if not name.startswith("Overall-")}
    assert subsets == pytest.approx(want.get("subsets", {}), abs=1e-9)
    parts = {name: metric["score"] for name, metric in summary.get("metrics", {}).items()}
    assert parts == pytest.approx(want.get("parts", {}), abs=1e-9)
    for key in want.get("official_crash", []):
        assert (lines[key]["value"], lines[key]["outcome"]) == (0, "unparsed")
    low, high = summary["ci95"]
    assert low < summary["score"] < high


def test_what_the_official_scripts_print(
    expected: dict[str, Any], shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, mmmu, _ = golden(capsys, shared, tmp_path, "mmmu_val")
    printed = {name: {"num": part["n"], "acc": round(part["score"] / 100, 3)} for name, part in mmmu["subsets"].items()}
    printed["Overall"] = {"num": mmmu["n"], "acc": round(mmmu["score"] / 100, 3)}
    assert {name: part for name, part in printed.items() if "Overall" in name} == expected["mmmu_val"]["printed"]
    _, seed, _ = golden(capsys, shared, tmp_path, "seed_image")
    assert f"Image accuracy: {seed['score']:.2f}%" in expected["seed_image"]["printed"]
    _, mmvet, _ = golden(capsys, shared, tmp_path, "mmvet")
    assert round(mmvet["score"], 1) == expected["mmvet"]["printed_total_1_decimal"]


def test_mme_names_the_answers_that_leave_the_accuracy(
    expected: dict[str, Any], shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, summary, lines = golden(capsys, shared, tmp_path, "mme")
    dropped = [key for key, line in lines.items() if line["answer"] == "dropped: contains a tab"]
    assert dropped == expected["mme"]["dropped"]
    assert summary["maximum"] == 2800 and summary["subsets"]["posters"]["maximum"] == 200
    assert {name: metric["score"] for name, metric in summary["subsets"]["OCR"]["metrics"].items()} == {
        "perception": pytest.approx(summary["subsets"]["OCR"]["score"])
    }


# Answers of LLaVA-1.5-13B


@pytest.mark.parametrize("task", ["mme", "seed_image", "mmmu_val"])
def test_recorded_answers(task: str, shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    known = json.loads((shared / "data" / "predictions" / "expected_iv.json").read_text())
    want = known[f"llava-1.5-13b/{task}.jsonl"]
    predictions = shared / "data" / "predictions" / "llava-1.5-13b" / f"{task}.jsonl"
    code, summary, _ = scored(capsys, tmp_path, task, predictions, shared / "data" / "root")
    assert code == 0
    assert summary["score"] == pytest.approx(want["score"], abs=1e-9)
    assert [metric["score"] for metric in summary.get("metrics", {}).values()] == pytest.approx(want.get("parts", []))
    subsets = {name: part["score"] for name, part in summary["subsets"].items() if not name.startswith("Overall-")}
    if task == "seed_image":
        types = json.loads((shared / "data" / "root" / "data" / "SEED" / "SEED-Bench.json").read_text())[
            "question_type"
        ]
        for name, part in summary["subsets"].items():
            assert [part["score"] * part["n"] / 100, part["n"]] == pytest.approx(want["by_type"][str(types[name])])
    else:
        assert subsets == pytest.approx(want["subsets"], abs=1e-9)
    assert summary["n"] == summary["expected_n"]


@pytest.mark.parametrize("run", range(3))
def test_recorded_grades(run: int, shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One record of three runs of a judge, as three records."""
    answers = shared / "data" / "predictions" / "llava-1.5-13b"
    want = json.loads((shared / "data" / "predictions" / "expected_iv.json").read_text())["llava-1.5-13b/mmvet.jsonl"]
    grades = rows_of(answers / "mmvet.judge.jsonl")
    judged = write_jsonl(tmp_path / "j.jsonl", [{"id": row["id"], "replies": [row["runs"][run]]} for row in grades])
    root = shared / "data" / "root"
    code, summary, _ = scored(capsys, tmp_path / "out", "mmvet", answers / "mmvet.jsonl", root, judged)
    assert code == 0
    assert summary["score"] == pytest.approx(want["runs"][run], abs=1e-9)
    if run == 0:
        assert {name: part["score"] for name, part in summary["subsets"].items()} == pytest.approx(want["subsets"])
    assert (summary["n"], summary["judge"]["judged"]) == (218, 218)


def test_recorded_grades_of_one_run(shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answers = shared / "data" / "predictions" / "llava-1.5-13b"
    record, root = answers / "mmvet.judge.1run.jsonl", shared / "data" / "root"
    _, summary, _ = scored(capsys, tmp_path, "mmvet", answers / "mmvet.jsonl", root, record)
    published = {"rec": 40.6, "ocr": 28.0, "know": 23.5, "gen": 24.4, "spat": 34.7, "math": 7.7}
    assert {name: round(part["score"], 1) for name, part in summary["subsets"].items()} == published
    assert round(summary["score"], 1) == 36.1


# The judge's requests

JUDGES = '''
"""A judge that says what it is told to, and writes down what it is asked."""
import json
from pathlib import Path
from evalkit.models.base import Model, Source
from evalkit.records import Response


class Told(Source, Model):
    def __init__(self, rest, options):
        self.folder = Path(rest)
        rows = map(json.loads, (self.folder / "j.jsonl").read_text().splitlines())
        self.replies = {row["id"]: iter(row["replies"]) for row in rows}

    def open(self, local):
        return self

    def answer(self, groups):
        for request in (request for group in groups for request in group.requests):
            generation = request.generation
            asked = [request.id, generation.temperature, generation.max_new_tokens, request.system, request.prompt]
            with (self.folder / "asked.jsonl").open("a") as file:
                file.write(json.dumps(asked) + "\\n")
            yield request, Response(request.id, next(self.replies[request.id]))


MODELS = {"told": Told}
'''


def test_mmvet_asks_its_judge_as_the_evaluator_does(
    expected: dict[str, Any], shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    iv = shared / "golden_iv"
    (tmp_path / "judges.py").write_text(JUDGES)
    (tmp_path / "j.jsonl").write_bytes((iv / "judge" / "mmvet.jsonl").read_bytes())
    run = tmp_path / "run"
    scored(capsys, run, "mmvet", iv / "predictions" / "mmvet.jsonl", iv / "root")
    plugin = str(tmp_path / "judges.py")
    code = main(["judge", str(run), "--judge", f"told:{tmp_path}", "--plugin", plugin, "--judge-name", "gpt-4-0613"])
    assert code == 3, "two answers stay without a grade"
    asked: dict[str, list[Any]] = {}
    for key, *request in rows_of(tmp_path / "asked.jsonl"):
        asked.setdefault(key, []).append(request)
    assert {key: len(requests) for key, requests in asked.items()} == expected["mmvet"]["replies_used"]
    official: dict[str, list[Any]] = {}
    for request in json.loads((iv / "judge" / "mmvet_requests.json").read_text()):
        (message,) = request["messages"]
        assert (request["model"], message["role"]) == ("gpt-4-0613", "user")
        now = [request["temperature"], request["max_tokens"], "", message["content"]]
        official.setdefault(request["id"], []).append(now)
    assert sorted(official) == ["0", "12", "3", "4", "9"]
    assert {key: asked[key] for key in official} == official
    summary = json.loads((run / "scores.json").read_text())["mmvet"]
    assert summary["score"] == pytest.approx(expected["mmvet"]["score"], abs=1e-9)
    assert summary["outcomes"]["unjudged"] == 2


# Submission files


@pytest.mark.parametrize(("task", "file"), [("infovqa_test", "infovqa_test.rrc.json"), ("mmvet", "mmvet.json")])
def test_submissions(task: str, file: str, shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    golden(capsys, shared, tmp_path / "run", task)
    assert main(["submit", str(tmp_path / "run"), task, "--out", str(tmp_path / file)]) == 0
    official = json.loads((shared / "golden_iv" / "submissions" / file).read_text())
    assert json.loads((tmp_path / file).read_text()) == official
