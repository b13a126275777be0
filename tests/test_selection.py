"""Which tasks of a card a run takes, which files serve, and what is refused before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.card import load_card
from evalkit.data.root import DataRoot
from evalkit.errors import IncompleteError, UsageError
from evalkit.models.base import Source
from evalkit.records import Media, Recipe, Sample, Score
from evalkit.selection import Selection, build_jobs, say_skipped, select
from evalkit.task import Task
from tests.conftest import Cli

CARD = """
name: c
title: C
source: here
tables:
  - id: t
    title: T
    rows:
      - {id: a, label: A, tasks: [textvqa_val], published: {}, recipe: {prompt: "{question}", max_new_tokens: 1}}
      - {id: b, label: B, tasks: [no_such_task], published: {}}
"""


def test_tasks_of_a_card_that_no_plugin_defines_are_named(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(CARD)
    selection = select(str(tmp_path / "c.yaml"), [], [], DataRoot(demo))
    say_skipped(selection)
    assert [task.name for task in selection.tasks] == ["textvqa_val"]
    assert "skipped, no plugin defines: no_such_task" in capsys.readouterr().err


def test_every_task_of_the_shipped_card_is_defined(demo: Path) -> None:
    assert select("internvl2", [], [], DataRoot(demo)).undefined == []


PLUGIN = """
from evalkit.records import Media, Recipe, Sample, Score
from evalkit.task import Task

TASKS = (
    Task(
        name="either", metric="accuracy", expected_n=1, files=("data/a.tsv",), instead=("data/b.parquet",),
        load=lambda root: [Sample("0", "?", (), ("x",), "0")], score=lambda sample, answer: Score(1.0, answer),
        recipe=Recipe(prompt="{question}", max_new_tokens=1),
    ),
)
"""


@pytest.mark.parametrize(
    ("present", "used"),
    [
        (("a.tsv",), ("data/a.tsv",)),
        (("b.parquet",), ("data/b.parquet",)),
        (("a.tsv", "b.parquet"), ("data/a.tsv",)),
        ((), None),
    ],
)
def test_a_task_may_be_in_either_file(present: tuple[str, ...], used: tuple[str, ...] | None, tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "data").mkdir()
    for name in present:
        (tmp_path / "data" / name).write_text("")
    root = DataRoot(tmp_path)
    if used is None:
        with pytest.raises(IncompleteError, match=r"missing: data/a\.tsv \(either\)"):
            select(None, ["either"], [str(tmp_path / "plugin.py")], root)
        return
    (task,) = select(None, ["either"], [str(tmp_path / "plugin.py")], root).tasks
    assert task.files_in(root) == used


def selection(path: str) -> Selection:
    sample = Sample("0", "?", (Media(path, "row"),), ("x",), "0")
    task = Task(
        name="t", metric="accuracy", expected_n=1, files=(), load=lambda _: [sample],
        score=lambda sample, answer: Score(1.0, answer), recipe=Recipe(prompt="{question}", max_new_tokens=1),
    )  # fmt: skip
    return Selection(load_card("internvl2"), [task], [], [], [])


def test_a_table_without_images_can_be_scored_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "m.tsv").write_text("index\tquestion\n0\twhy?\n")
    root, chosen = DataRoot(tmp_path), selection("data/m.tsv#0")
    assert len(build_jobs(chosen, root, None, 28)) == 1
    with pytest.raises(UsageError) as caught:
        build_jobs(chosen, root, None, 28, Source().refuses, with_images=True)
    assert "task t: data/m.tsv has no 'image' column" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.shared_data
def test_running_a_scoring_only_tsv_is_one_line(cli: Cli, shared: Path, demo: Path, tmp_path: Path) -> None:
    args = ["--tasks", "ocrbench", "--data-root", shared / "data" / "root", "--out", tmp_path / "run"]
    for more in ([], ["--dry-run"]):
        done = cli("run", "--model", demo / "checkpoint", *args, *more)
        assert done.returncode == 2 and "OCRBench.tsv has no 'image' column" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "ocrbench").exists()


@pytest.mark.parametrize(
    ("absent", "usable"),
    [
        ((), True),
        (("data/a.parquet",), True),
        (("data/gold.json",), False),
        (("data/a.parquet", "data/b.parquet"), True),
    ],
)
def test_parts_need_what_they_share(absent: tuple[str, ...], usable: bool, tmp_path: Path) -> None:
    task = Task(
        name="t", metric="accuracy", expected_n=2, files=("data/gold.json", "data/a.parquet", "data/b.parquet"),
        load=lambda _: (), score=lambda sample, answer: Score(1.0, answer), parts=True, shared=("data/gold.json",),
    )  # fmt: skip
    assert task.usable_without(absent, DataRoot(tmp_path)) is usable
