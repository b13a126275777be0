"""A light installation: what needs no inference works without torch, transformers, decord and datasets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.errors import EXTRAS, missing_extra
from tests.conftest import REPO

ABSENT = ("torch", "transformers", "safetensors", "decord", "datasets", "pyarrow")
INFERENCE = "evalkit: inference needs torch: pip install 'evalkit-vlm[run]'\n"


def light(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command, in a process that cannot import the extras' packages."""
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); from evalkit.cli.main import entry; entry()"
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=300, check=False)


@pytest.fixture(scope="module")
def video_run(demo: Path, gold_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on videos and images, made without the extras."""
    out = tmp_path_factory.mktemp("light") / "run"
    tasks = "mvbench,docvqa_test,textvqa_val,refcoco_val,ccbench_dev"
    done = light("run", "--model", f"replay:{gold_run}", "--tasks", tasks, "--data-root", demo, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize(
    "line",
    [
        "tasks --data-root DEMO",
        "show mvbench --data-root DEMO --limit 2 --model DEMO/checkpoint",
        "data check mvbench docvqa_val --data-root DEMO",
        "status RUN",
        "score RUN --data-root DEMO",
        "table RUN",
        "table RUN --format model-index",
        "compare RUN RUN",
        "check RUN --baseline RUN",
        "plot RUN --out OUT",
        "report RUN --out OUT.html --images 30",
        "submit RUN docvqa_test --out OUT.json",
        "demo --out OUT",
    ],
)
def test_commands_without_the_extras(line: str, demo: Path, video_run: Path, tmp_path: Path) -> None:
    places = (("DEMO", demo), ("RUN", video_run), ("OUT", tmp_path / "out"))
    args = line.split()
    for name, path in places:
        args = [arg.replace(name, str(path)) for arg in args]
    done = light(*args)
    assert done.returncode == 0, done.stderr
    assert done.stdout and "Traceback" not in done.stderr


def test_anyones_predictions_are_scored_without_the_extras(demo: Path, gold_run: Path, tmp_path: Path) -> None:
    answers = gold_run / "textvqa_val" / "predictions.jsonl"
    args = ("--task", "textvqa_val", "--predictions", answers, "--data-root", demo, "--out", tmp_path)
    assert light("score", *args).returncode == 0
    ours, theirs = (json.loads((path / "scores.json").read_text()) for path in (tmp_path, gold_run))
    assert ours["textvqa_val"]["score"] == theirs["textvqa_val"]["score"]


@pytest.mark.parametrize("further", [(), ("--dry-run",)], ids=["run", "dry-run"])
def test_inference_without_torch_is_one_line(further: tuple[str, ...], demo: Path, tmp_path: Path) -> None:
    where = ("--data-root", demo, "--out", tmp_path / "run")
    done = light("run", "--model", demo / "checkpoint", "--tasks", "docvqa_val", *where, *further)
    assert (done.returncode, done.stderr) == (2, INFERENCE)


def test_fetching_without_datasets_is_one_line(demo: Path, tmp_path: Path) -> None:
    done = light("data", "fetch", "textvqa_val", "--data-root", tmp_path, "--source", demo)
    assert (done.returncode, done.stderr) == (
        2,
        "evalkit: data fetch needs datasets: pip install 'evalkit-vlm[hub]'\n",
    )


TASK = """
from evalkit.records import Recipe, Score
from evalkit.task import Task

def load(root):
    import MODULE
    return []

def score(sample, answer):
    return Score(1.0, answer)

RECIPE = Recipe(prompt="", max_new_tokens=1)
TASKS = (Task(name="mine", metric="accuracy", expected_n=1, files=(), load=load, score=score, recipe=RECIPE),)
"""


def test_a_plugins_missing_module_names_the_plugin(demo: Path, tmp_path: Path) -> None:
    plugin, args = tmp_path / "mine.py", ("show", "mine", "--data-root", demo, "--plugin", tmp_path / "mine.py")
    plugin.write_text("import torch\n")  # while it is loaded
    done = light(*args)
    assert done.returncode == 2 and f"plugin {plugin} cannot be loaded" in done.stderr and "torch" in done.stderr
    plugin.write_text(TASK.replace("MODULE", "torch"))  # later
    done = light(*args)
    assert (done.returncode, done.stderr) == (2, f"evalkit: {plugin} needs torch: pip install 'evalkit-vlm[run]'\n")
    plugin.write_text(TASK.replace("MODULE", "no_such_module"))  # in no extra: the author's bug, with its traceback
    done = light(*args)
    assert done.returncode == 1 and str(plugin) in done.stderr and "no_such_module" in done.stderr


def test_the_table_of_extras_is_that_of_the_metadata() -> None:
    text = (REPO / "pyproject.toml").read_text()
    for module, (_, extra) in EXTRAS.items():
        (packages,) = re.findall(rf"^{extra} = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL)
        assert f'"{module}>=' in packages and f'"{module}>=' not in text.replace(packages, ""), module


def test_what_is_in_no_extra_is_no_users_error() -> None:
    assert missing_extra(ModuleNotFoundError("No module named 'numpy'", name="numpy")) is None
