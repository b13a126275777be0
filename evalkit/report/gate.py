"""``check``: a gate per task against a baseline run or the published numbers, and its files for CI systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.etree import ElementTree

from evalkit.card import Card
from evalkit.errors import IncompleteError, UsageError
from evalkit.report.compare import Comparison, regressions
from evalkit.report.table import published_value
from evalkit.runs.folder import RunFolder
from evalkit.summary import of_official

REGRESSION = 1


@dataclass(frozen=True, slots=True)
class Check:
    """One checked task or card row.

    Attributes:
        name: task, or row of the card.
        status: ``passed``, ``regression`` or ``incomplete``.
        detail: the numbers behind it, one line.
    """

    name: str
    status: str
    detail: str


@dataclass(frozen=True, slots=True)
class Gate:
    """All checks of one command."""

    checks: list[Check]

    @property
    def exit_code(self) -> int:
        """1 if anything regressed, else 3 if anything is incomplete, else 0."""
        statuses = {check.status for check in self.checks}
        return REGRESSION if "regression" in statuses else IncompleteError.exit_code if "incomplete" in statuses else 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON content."""
        return {"exit_code": self.exit_code, "checks": [asdict(check) for check in self.checks]}


def against_run(comparison: Comparison, lost: Sequence[str], alpha: float, max_drop: float) -> Gate:
    """Check a run against a baseline run.

    Args:
        comparison: the paired comparison.
        lost: tasks of the baseline without scores in the run.
        alpha: significance level, over all tasks together.
        max_drop: allowed drop in points of a metric's own scale, significant or not.
    """
    fallen = {item.task for item in regressions(comparison, alpha, max_drop)}
    checks = []
    for item in comparison.tasks:
        digits = item.decimals
        least = "" if item.detectable is None else f"; smallest detectable drop {item.detectable:.{digits}f}"
        detail = (
            f"{item.run:.{digits}f} after {item.base:.{digits}f} "
            f"({item.difference:+.{digits}f} points on {item.n} samples, "
            f"Holm-adjusted p {item.p_adjusted:.4f}{least})"
        )
        status = "regression" if item.task in fallen else "incomplete" if item.only_base else "passed"
        if item.only_base:
            detail += f"; {len(item.only_base)} samples of the baseline have no answer, e.g. {item.only_base[0]}"
        checks.append(Check(item.task, status, detail))
    checks += [Check(name, "incomplete", "the baseline has scores of this task, the run does not") for name in lost]
    return Gate(checks)


def against_published(card: Card, run: RunFolder, max_drop: float) -> Gate:
    """Check the rows of a card that a run has scores of against the published numbers.

    A row regressed if the published number, taken as its rounding interval, lies above our 95 % interval, and our score
    lies more than ``max_drop`` points under it.

    Raises:
        UsageError: the card publishes nothing to check against, or no published row was run.
    """
    if card.model is None:
        raise UsageError(
            f"card {card.name!r} does not name its own model (key 'model'): no published numbers to check against; "
            "give a run folder as --baseline"
        )
    checks = []
    for row in card.rows():
        published = published_value(row, card)
        result = run.row(card.formula(row))
        if result is None or published is None:
            continue
        lowest = published - 0.5 * 10**-row.decimals
        detail = f"published {published}"
        if result.missing_tasks or result.n != result.expected_n:
            checks.append(Check(row.id, "incomplete", f"{detail}; n {of_official(result.n, result.expected_n)}"))
        elif result.failed:
            checks.append(Check(row.id, "incomplete", f"{detail}; {result.failed} samples have no answer"))
        elif result.score is None:
            checks.append(Check(row.id, "incomplete", f"{detail}; labels are hidden, no score"))
        else:
            low, high = result.ci95 or (result.score, result.score)
            below = high < lowest - 1e-9 and lowest - result.score > max_drop
            detail = f"{result.score:.2f} [{low:.2f}, {high:.2f}], {detail}"
            checks.append(Check(row.id, "regression" if below else "passed", detail))
    if not checks:
        raise UsageError("no row of this run has a published number")
    return Gate(checks)


def gate_lines(gate: Gate) -> list[str]:
    """Return the checks as a Markdown table (fit for a GitHub Actions step summary)."""
    marks = {"passed": "passed", "regression": "**regression**", "incomplete": "*incomplete*"}
    lines = ["| task | status | numbers |", "|---|---|---|"]
    return lines + [f"| {check.name} | {marks[check.status]} | {check.detail} |" for check in gate.checks]


def junit_xml(gate: Gate) -> str:
    """Return the checks as JUnit XML: a regression is a failure, an incomplete task an error."""
    counts = {status: sum(check.status == status for check in gate.checks) for status in ("regression", "incomplete")}
    suite = ElementTree.Element(
        "testsuite",
        name="evalkit check",
        tests=str(len(gate.checks)),
        failures=str(counts["regression"]),
        errors=str(counts["incomplete"]),
    )
    for check in gate.checks:
        case = ElementTree.SubElement(suite, "testcase", classname="evalkit", name=check.name)
        if check.status == "passed":
            ElementTree.SubElement(case, "system-out").text = check.detail
        else:
            kind = "failure" if check.status == "regression" else "error"
            ElementTree.SubElement(case, kind, message=check.detail)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
