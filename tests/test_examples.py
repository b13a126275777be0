"""The examples of docs/extending.md, through the command line, on the data that examples/draw.py draws."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli.main import main
from tests.conftest import REPO, Cli, write_jsonl

EXAMPLES = REPO / "examples"
TASKS = {"pope_random": "pope.py", "brighter_test": "two_images.py", "captions_test": "judged_task.py"}
PLUGINS = [item for name in TASKS.values() for item in ("--plugin", str(EXAMPLES / name))]
MODEL = ["--plugin", str(EXAMPLES / "constant_model.py"), "--model"]

Evalkit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evalkit(capsys: pytest.CaptureFixture[str]) -> Evalkit:
    """Runs a command in this process; returns exit code, stdout and stderr."""

    def run(*args: str | Path) -> tuple[int, str, str]:
        code = main([str(arg) for arg in args])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from examples.draw import draw

    out = tmp_path_factory.mktemp("examples")
    draw(out)
    return out


def scores(run: Path, task: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "scores.json").read_text())[task]
    return content


def test_tasks_are_listed(evalkit: Evalkit, root: Path) -> None:
    code, out, _ = evalkit("tasks", *PLUGINS, "--data-root", root, "--json")
    present = {row["task"]: (row["metric"], row["samples"]) for row in json.loads(out) if row["present"]}
    assert code == 0 and present == {
        "pope_random": ("f1", 3000), "brighter_test": ("accuracy", 2), "captions_test": ("rating", 2),
    }  # fmt: skip


def test_questions_are_shown_as_the_recipe_says(evalkit: Evalkit, root: Path) -> None:
    code, out, _ = evalkit("show", "brighter_test", *PLUGINS, "--data-root", root, "--json")
    first = json.loads(out)[0]
    assert code == 0
    assert first["prompt"] == "Picture-1: <image>\nPicture-2: <image>\nWhich picture is brighter? Answer 1 or 2."
    assert [item["tiles"] for item in first["media"]] == [1, 1]
    given = [*PLUGINS, *MODEL, "constant:Yes", "--data-root", root, "--limit", "1"]
    code, out, _ = evalkit("show", "pope_random", *given)
    assert code == 0 and "red square in the image?\nAnswer the question using a single word or phrase." in out


def test_another_look(evalkit: Evalkit, root: Path) -> None:
    card = EXAMPLES / "other_look.yaml"
    code, out, _ = evalkit("show", "brighter_test", *PLUGINS, "--card", card, "--data-root", root, "--json")
    first = json.loads(out)[0]
    assert code == 0 and first["merged"] and first["prompt"].count("<image>") == 1
    shown = [(item.get("enlarge"), item["keep_mode"], item["tiles"]) for item in first["media"]]
    assert shown == [(2, True, 7), (None, True, 1)], "six tiles and a thumbnail, then one tile"


def test_a_constant_model_runs_and_is_scored(evalkit: Evalkit, root: Path, tmp_path: Path) -> None:
    given = [*PLUGINS, "--data-root", root, "--tasks", "pope_random,brighter_test", "--out", tmp_path / "run"]
    code, _, said = evalkit("run", *given, *MODEL, "constant:Yes, 1.")
    assert code == 0, said
    pope = scores(tmp_path / "run", "pope_random")
    found = {"f1": pope["score"]} | {name: one["score"] for name, one in pope["metrics"].items()}
    assert found == pytest.approx({"f1": 200 / 3, "accuracy": 50, "precision": 50, "recall": 100})
    assert scores(tmp_path / "run", "brighter_test")["score"] == 50
    before = (tmp_path / "run" / "scores.json").read_bytes()
    assert evalkit("score", tmp_path / "run")[0] == 0, "run.json names the plugins"
    assert (tmp_path / "run" / "scores.json").read_bytes() == before
    code, _, said = evalkit("run", *given, *MODEL, "constant:No, 2.")
    assert code == 2 and 'model.answer: "Yes, 1." -> "No, 2."' in said, "another answer is another setting"


def test_a_judged_task(evalkit: Evalkit, root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    given = [*PLUGINS, "--data-root", root, "--tasks", "captions_test", "--out", run]
    code, _, said = evalkit("run", *given, *MODEL, "constant:a red square")
    assert code == 0 and "answers are not judged yet" in said
    assert scores(run, "captions_test")["score"] == 50, "an exact answer needs no judge"
    record = write_jsonl(tmp_path / "J.jsonl", [{"id": "1", "replies": ["quite well", "3"]}])
    code, _, said = evalkit("judge", run, "--judge", f"replay:{record}", "--judge-name", "gpt-4-0613")
    assert code == 0, said
    assert scores(run, "captions_test")["score"] == pytest.approx(65)


def test_a_card_of_another_model(demo: Path, tmp_path: Path, cli: Cli) -> None:
    card, run = EXAMPLES / "other_card.yaml", tmp_path / "run"
    done = cli("run", "--card", card, *MODEL, "constant:1", "--data-root", demo, "--limit", "2", "--out", run)
    assert done.returncode == 0, done.stderr
    done = cli("table", run, "--card", card, "--format", "json")
    (table,) = json.loads(done.stdout)["tables"]
    rows = {row["id"]: (row["published"], row["runs"][0]["n"], row["runs"][0]["settings"]) for row in table["rows"]}
    assert rows == {
        "docvqa": ({"TinyVLM-1B": 61.3, "OtherVLM-2B": 70.1}, 2, []),
        "textvqa": ({"TinyVLM-1B": 55.0, "OtherVLM-2B": None}, 2, []),
    }
    predictions = (run / "docvqa_val" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["response"] for line in predictions] == ["1", "1"]
    settings = json.loads((run / "run.json").read_text())["settings"]["tasks"]
    assert settings["docvqa_val"]["recipe"]["prompt"] == "{media}{question} Short answer:"
