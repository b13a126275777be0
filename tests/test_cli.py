"""The command line: light, instant, and documented."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import REPO, Cli

COMMANDS = [
    ["tasks"],
    ["show"],
    ["data", "check"],
    ["data", "fetch"],
    ["run"],
    ["judge"],
    ["score"],
    ["table"],
    ["plot"],
    ["status"],
    ["report"],
    ["compare"],
    ["check"],
    ["submit"],
    ["demo"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example(command: list[str], cli: Cli) -> None:
    done = cli(*command, "--help")
    assert done.returncode == 0
    assert "example:\n  " in done.stdout and "evalkit" in done.stdout.split("example:")[1]


@pytest.mark.parametrize(
    "args",
    [["--help"], ["run", "--help"], ["tasks"], ["tasks", "--json"], ["nonsense"], ["show", "x", "--data-root", "."]],
    ids=" ".join,
)
def test_heavy_packages_stay_out(args: list[str]) -> None:
    code = (
        "import sys; from evalkit.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'decord', 'datasets', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    command = [sys.executable, "-c", code, *args]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 0, done.stderr


def test_scoring_imports_no_torch(demo: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    ids = [
        row.split('"question_id": ')[1].split("}")[0].split(",")[0]
        for row in (demo / "data/textvqa/textvqa_val.jsonl").read_text().splitlines()
    ]
    answers.write_text("".join(json.dumps({"id": number, "response": "x"}) + "\n" for number in ids))
    code = (
        "import sys; from evalkit.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'decord'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    args = [
        "score",
        "--task",
        "textvqa_val",
        "--predictions",
        str(answers),
        "--data-root",
        str(demo),
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 0, done.stderr


def test_tasks_lists_the_contract_names(cli: Cli) -> None:
    rows = json.loads(cli("tasks", "--json").stdout)
    grounding = ["val", "testA", "testB"]
    expected = {f"{name}_{split}" for name in ("refcoco", "refcoco+") for split in grounding}
    expected |= {"refcocog_val", "refcocog_test", "docvqa_val", "docvqa_test", "textvqa_val", "mvbench", "ccbench_dev"}
    expected |= {f"chartqa_test_{half}" for half in ("human", "augmented")}
    expected |= {f"mmbench_{split}_{language}" for split in ("dev", "test") for language in ("en", "cn")}
    assert expected <= {row["task"] for row in rows}
    counts = {row["task"]: row["samples"] for row in rows}
    assert (counts["docvqa_val"], counts["mvbench"], counts["refcocog_test"]) == (5349, 4000, 9602)
    assert all(row["metric"] and row["get"] for row in rows)


def test_start_up_is_not_seconds(cli: Cli) -> None:
    """A generous bound that only a heavy import would break; the target of 0.5 s is measured by hand."""
    started = time.perf_counter()
    cli("--help")
    assert time.perf_counter() - started < 3


def test_data_check(cli: Cli, demo: Path) -> None:
    done = cli("data", "check", "textvqa_val", "docvqa_val", "--data-root", demo)
    assert done.returncode == 0, done.stdout
    assert "textvqa_val: complete for the" in done.stdout and "of 5000 samples" in done.stdout
    assert cli("data", "check", "textvqa_val", "--data-root", REPO / "tests").returncode == 3
