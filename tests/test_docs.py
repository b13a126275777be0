"""The guides tell the truth: links lead somewhere, and every command in them is one that evalkit takes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from evalkit.cli.main import build_parser
from evalkit.judging import Judge
from evalkit.metrics.metric import Metric
from evalkit.models.base import Model, Source
from evalkit.records import Look, Media, Recipe, Sample, Score
from evalkit.task import Task
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
    assert found["README.md"] > 15 and found["quickstart.md"] > 7 and found["extending.md"] == 17


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert anchor in anchors(page.parent / target if target else page), f"{page.name}: {target}#{anchor}"


EXTENDING = REPO / "docs" / "extending.md"


def test_quoted_code_is_the_examples() -> None:
    page = EXTENDING.read_text()
    quoted = set()
    for match in re.finditer(r"^```(?:python|yaml)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        name = re.findall(r"\]\(\.\./examples/(\w+\.\w+)\)", page[: match.start()])[-1]
        file = (REPO / "examples" / name).read_text()
        assert f"\n{match[1]}" in f"\n{file}", f"{name}: the quoted code is not in the file"
        quoted.add(name)
    assert quoted == {path.name for path in (REPO / "examples").iterdir() if path.is_file()} - {"draw.py"}


@pytest.mark.parametrize("kind", [Sample, Media, Recipe, Look, Score, Task, Metric, Judge, Source, Model])
def test_every_field_is_explained(kind: type) -> None:
    page, name = EXTENDING.read_text(), kind.__name__
    table = page.split(f"\n### {name}\n")[-1] if f"\n### {name}\n" in page else page.split(f"`{name}` | meaning |")[1]
    lines = re.split(r"^\|---.*\n", table, flags=re.MULTILINE)[1].split("\n\n")[0].splitlines()
    if name == "Metric":  # its builders have a table of their own before it
        lines = re.split(r"^\| field \|.*\n\|---.*\n", table, flags=re.MULTILINE)[1].split("\n\n")[0].splitlines()
    explained = [field for line in lines for field in re.findall(r"`(\w+)`", line.split("|")[1])]
    known = [item.name for item in fields(kind)] if is_dataclass(kind) else [key for key in vars(kind) if key[0] != "_"]
    assert sorted(explained) == sorted(known)


def test_quoted_output_is_what_the_command_prints() -> None:
    for page in PAGES:
        assert refreshed(page.read_text()) == page.read_text(), "out of date: python scripts/refresh_docs.py"


def test_the_readme_quotes_all_scores_of_the_demo() -> None:
    (block,) = QUOTED.finditer((REPO / "README.md").read_text())
    scores = json.loads((REPO / "results" / "demo-baseline" / "scores.json").read_text())
    rows = {line.split("|")[1].strip(): line for line in block[0].splitlines() if line.startswith("|")}
    assert block[1].split()[:2] == ["table", "results/demo-baseline"] and scores.keys() <= rows.keys()
    for task, found in scores.items():
        shown = "no local labels" if found["score"] is None else f"{found['score']:.{found['decimals']}f}"
        n = f"{found['n']}/{found['expected_n'] or '?'}"
        assert re.search(rf" {re.escape(shown)}( \[\d+\])? \|", rows[task]) and n in rows[task]
