"""Fixtures shared by all tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared"

# Questions a file of the demo that the tests share; the whole demo has about eight times as many.
SMALL_DEMO = {"docvqa": 16, "chartqa": 16, "textvqa": 16, "mmbench": 6, "mvbench": 24, "refcoco": 14}

Cli = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-shared-data", action="store_true", help="fail instead of skipping where the real data is absent"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    if config.getoption("--require-shared-data"):
        raise pytest.UsageError(f"--require-shared-data: there is no folder {SHARED}")
    skip = pytest.mark.skip(reason=f"the real data is not at {SHARED}")
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's caches out of the tests; commands in processes of their own inherit it."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("caches"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and golden vectors."""
    return SHARED


@pytest.fixture(scope="session")
def tiny_checkpoint(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny random checkpoint with the real tokenizer, behind the golden engine vectors."""
    out = tmp_path_factory.mktemp("tiny") / "checkpoint"
    script = shared / "golden" / "engine" / "make_checkpoint.py"
    subprocess.run([sys.executable, str(script), str(out)], check=True)
    return out


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded demo with fewer questions: ``data/`` and ``checkpoint/``."""
    from evalkit.demo.layout import write_all

    out = tmp_path_factory.mktemp("demo") / "demo"
    write_all(out, SMALL_DEMO)
    return out


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs the command line in a process of its own."""

    def run(*args: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "evalkit", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=timeout, check=False)

    return run


def write_jsonl(path: Path, records: list[dict[str, object]]) -> Path:
    """Write records as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path
