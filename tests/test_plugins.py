"""A seventh benchmark, added without an edit elsewhere: by --plugin, and by an entry point."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from evalkit.errors import UsageError
from evalkit.plugins import load_tasks
from tests.conftest import REPO, Cli, write_jsonl

COLOURS = '''
"""Colour naming: one word on one image, exact match."""
from evalkit.data.readers import vqa_samples
from evalkit.records import Recipe, Score
from evalkit.task import Task

FILE = "data/colours/test.jsonl"


def score(sample, answer):
    return Score(float(answer.strip().lower() in sample.references), answer.strip() or None)


TASKS = (
    Task(
        name="colours_test",
        metric="accuracy",
        expected_n=3,
        files=(FILE,),
        load=lambda root: vqa_samples(root, FILE),
        score=score,
        recipe=Recipe(prompt="{media}{question} One word.", max_new_tokens=4),
    ),
)
'''


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    (tmp_path / "colours.py").write_text(COLOURS)
    names = ["red", "green", "blue"]
    write_jsonl(
        tmp_path / "data" / "colours" / "test.jsonl",
        [{"image": f"data/colours/{name}.png", "question": "Which colour?", "answer": name} for name in names],
    )
    for name in names:
        Image.new("RGB", (40, 30), name).save(tmp_path / "data" / "colours" / f"{name}.png")
    return tmp_path


def test_a_plugin_file_is_listed_shown_run_and_scored(colours: Path, cli: Cli, demo: Path) -> None:
    plugin = colours / "colours.py"
    listed = json.loads(cli("tasks", "--json", "--plugin", plugin, "--data-root", colours).stdout)
    assert {row["task"]: row["present"] for row in listed}["colours_test"] is True

    shown = json.loads(cli("show", "colours_test", "--data-root", colours, "--plugin", plugin, "--json").stdout)
    assert [entry["prompt"] for entry in shown] == ["<image>\nWhich colour? One word."] * 3
    assert shown[0]["media"] == [{"path": "data/colours/red.png", "grid": [1, 1], "tiles": 1}]

    out = colours / "run"
    args = ["--tasks", "colours_test", "--data-root", colours, "--out", out, "--plugin", plugin]
    done = cli("run", "--model", demo / "checkpoint", *args)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "scores.json").read_text())["colours_test"]["n"] == 3
    table = cli("table", out).stdout
    assert re.search(r"## Other tasks\n\n\| task .*\n.*\n\| colours_test \| accuracy \| .* 3/3 \|\n", table)
    assert (out / "card.md").read_text() == table

    answers: list[dict[str, object]] = [
        {"id": "0", "response": "Red"},
        {"id": "1", "response": "green"},
        {"id": "2", "response": "yellow"},
    ]
    predictions = write_jsonl(colours / "answers.jsonl", answers)
    scored = cli(
        "score",
        "--task",
        "colours_test",
        "--predictions",
        predictions,
        "--data-root",
        colours,
        "--plugin",
        plugin,
        "--json",
    )
    assert json.loads(scored.stdout)["colours_test"]["score"] == pytest.approx(200 / 3)


def test_an_entry_point_adds_a_task(colours: Path) -> None:
    package = colours / "site"
    (package / "colours-1.0.dist-info").mkdir(parents=True)
    (package / "colours_plugin.py").write_text(COLOURS)
    (package / "colours-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n")
    (package / "colours-1.0.dist-info" / "entry_points.txt").write_text(
        "[evalkit.tasks]\ncolours = colours_plugin:TASKS\n"
    )
    environment = os.environ | {"PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "evalkit", "tasks", "--json"]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=environment, check=True)
    assert "colours_test" in [row["task"] for row in json.loads(listed.stdout)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TASKS = 3", "TASKS must be a tuple"),
        ("import nothing_of_this_name", "cannot be loaded"),
        (COLOURS.replace("colours_test", "docvqa_val"), "already defined"),
        (COLOURS.replace("colours_test", "../evil"), "task name"),
    ],
)
def test_bad_plugins(text: str, message: str, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_tasks([str(plugin)])


def test_a_missing_plugin_file() -> None:
    with pytest.raises(UsageError, match="not a Python file"):
        load_tasks(["nowhere.py"])
