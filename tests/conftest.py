"""Fixtures shared by all tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared"

# Questions a file of the demo that the tests share; the whole demo has about eight times as many.
SMALL_DEMO = {"docvqa": 16, "chartqa": 16, "textvqa": 16, "mmbench": 6, "mvbench": 24, "refcoco": 14}

Cli = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-shared-data", action="store_true", help="fail instead of skipping where the real data is absent"
    )
    parser.addoption("--require-browser", action="store_true", help="fail instead of skipping if Chromium is missing")


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
    from scripts.demo.layout import write_all

    out = tmp_path_factory.mktemp("demo") / "demo"
    write_all(out, SMALL_DEMO)
    return out


HOSTILE_ANSWERS = (
    "<script>window.ran = 1; document.title = 'owned'</script>",
    "</script><script>window.ran = 2</script>",
    "<img src=x onerror='window.ran = 3'>",
    '<a href="javascript:window.ran = 4">[[1, 2, 3, 4]]</a>',
    "<!--<script>\u2028 $\\frac{ ]]> \u202e\x07",
)


def recorded_answer(place: int, references: tuple[object, ...], size: tuple[float, float] | None) -> str:
    """Return a made-up answer: hostile at first, then every third wrong, the others right."""
    if place < len(HOSTILE_ANSWERS):
        return HOSTILE_ANSWERS[place]
    gold = references[0] if references else "A"
    if isinstance(gold, tuple) and size:
        shift = (0, 30, 400)[place % 3]  # thousandths: IoU 1, a part of it, none
        sides = (size[0], size[1], size[0], size[1])
        box = [
            round(1000 * edge / side) + shift * (index % 2 == 0)
            for index, (edge, side) in enumerate(zip(gold, sides, strict=True))
        ]
        return f"it[[{', '.join(map(str, box))}]]"
    if place % 3 == 2:
        return "Z, nothing of the kind"
    return f"({gold})" if size is None and len(str(gold)) == 1 else str(gold)


def record_run(demo: Path, base: Path, first: int) -> Path:
    """Return a finished run of all demo tasks; the answer to sample number n is recorded_answer(first + n)."""
    from evalkit.cli.main import main
    from evalkit.data.root import DataRoot
    from evalkit.plugins import load_tasks

    root = DataRoot(demo)
    for task in load_tasks().values():
        if task.usable_without(root.missing(task.files_in(root)), root):
            lines: list[dict[str, object]] = []
            for place, sample in enumerate(task.load(root), start=first):
                fields = sample.fields
                size = (fields["width"], fields["height"]) if "width" in fields else None
                lines.append({"id": sample.id, "response": recorded_answer(place, sample.references, size)})
            write_jsonl(base / "answers" / task.name / "predictions.jsonl", lines)
    out = base / "run"
    code = main(["run", "--model", f"replay:{base / 'answers'}", "--data-root", str(demo), "--out", str(out)])
    assert code in (0, 3), "3: the demo has some of MVBench's files only"
    return out


@pytest.fixture(scope="session")
def gold_run(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose answers are hostile, right, half right and wrong."""
    return record_run(demo, tmp_path_factory.mktemp("gold"), 0)


@pytest.fixture(scope="session")
def other_run(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another run on the same samples: no hostile answers, and other samples wrong."""
    return record_run(demo, tmp_path_factory.mktemp("other"), 7)


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Chrome]:
    """Headless Chromium; without it the tests are skipped, or fail with --require-browser."""
    import shutil

    from selenium import webdriver

    chrome = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    driver = shutil.which("chromedriver")
    if not (chrome and driver):
        message = "no chromium and chromedriver on PATH (Debian: apt-get install chromium chromium-driver)"
        if request.config.getoption("--require-browser"):
            pytest.fail(message)
        pytest.skip(message)
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    # No sandbox: CI containers run as root; no GPU and one scale: the same pixels everywhere.
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "force-device-scale-factor=1",
        "window-size=1500,1000",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


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


def contents(out: Path) -> dict[str, bytes]:
    """Return a folder's files by relative path."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
