"""The guides tell the truth: links lead somewhere, and every command in them is one that evalkit takes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.cli.main import build_parser
from scripts.refresh_docs import QUOTED, refreshed
from tests.conftest import REPO

PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]


def commands(page: Path) -> Iterator[str]:
    """Yield the evalkit command lines of a page's code blocks, without comments and what follows a pipe or ``&&``."""
    for block in re.findall(r"^```(?:\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\?\n\s+--", " --", block).splitlines():  # also YAML, folded
            for part in re.split(r"&&|[|>]", re.sub(r"(^|\s)#.*", "", line)):
                found = re.search(r"(?:^|\s)(?:-m )?evalkit (.*)", part)
                if found and "torchrun" not in part.split("evalkit")[1]:
                    yield found[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_evalkits(page: Path) -> None:
    parser = build_parser()
    for command in commands(page):
        try:
            parser.parse_args(shlex.split(command))
        except SystemExit:
            pytest.fail(f"{page.name}: evalkit {command}")


def test_the_pages_hold_commands() -> None:
    found = {page.name: len(list(commands(page))) for page in PAGES}
    assert found["README.md"] > 15 and found["quickstart.md"] > 7 and found["benchmarks.md"] == 4


def test_quoted_output_is_what_the_command_prints() -> None:
    for page in PAGES:
        assert refreshed(page.read_text()) == page.read_text(), "out of date: python scripts/refresh_docs.py"


def test_the_readme_quotes_all_scores_of_the_demo() -> None:
    (block,) = QUOTED.finditer((REPO / "README.md").read_text())
    scores = json.loads((REPO / "results" / "demo-baseline" / "scores.json").read_text())
    rows = {line.split("|")[1].strip(): line for line in block[0].splitlines() if line.startswith("|")}
    assert block[1].split()[:2] == ["table", "results/demo-baseline"] and scores.keys() <= rows.keys()
    for task, found in scores.items():
        shown = "no local labels" if found["score"] is None else f"{found['score']:.2f}"
        assert f" {shown} |" in rows[task] and f"{found['n']}/{found['expected_n']}" in rows[task]
