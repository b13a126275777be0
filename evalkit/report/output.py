"""Run folders as the card's tables, or as metadata of the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit import __version__
from evalkit.card import Card, load_card
from evalkit.errors import UsageError
from evalkit.files import write_atomically
from evalkit.formula import Formula
from evalkit.plugins import load_tasks
from evalkit.report.formats.hub import Measurement, eval_results_yaml, model_index_yaml
from evalkit.report.formats.render import render
from evalkit.report.table import build
from evalkit.runs.folder import RunFolder, open_runs
from evalkit.runs.record import read_run

HUB_FORMATS = {"model-index": model_index_yaml, "eval-results": eval_results_yaml}


def write_card(out: Path, card: Card) -> str:
    """Write a run's card.md and return it."""
    text = render(build(card, [RunFolder(out, card)]), "md")
    write_atomically(out / "card.md", text)
    return text


def table_text(runs: Sequence[Path], card_name: str, output: str, compact: bool, by_task: bool = False) -> str:
    """Return the tables of run folders as text.

    Args:
        runs: run folders; several make a leaderboard.
        card_name: the card.
        output: a format of ``report.render`` or of ``HUB_FORMATS``.
        compact: fewer columns and rows.
        by_task: one table of all tasks instead of the card's.

    Raises:
        UsageError: a folder holds no run, or several runs are given for Hub metadata.
    """
    card = load_card(card_name)
    if by_task:
        card = card.model_copy(update={"title": "Scores", "model": None})  # no published numbers, the same recipes
    folders = open_runs(runs, card)
    if output not in HUB_FORMATS:
        shown = card.model_copy(update={"tables": []}) if by_task else card
        return render(build(shown, folders), output, compact)
    if len(folders) != 1:
        raise UsageError(f"--format {output} takes exactly one run")
    record = read_run(runs[0])
    name = Path(str(record.model.get("name", runs[0].name))).name
    measured = list(_measurements(folders[0], card, record.plugins))
    if not measured:
        raise UsageError(f"{runs[0]} has no score yet: its tasks' labels are hidden (evalkit score --server-score)")
    return HUB_FORMATS[output](name, measured, folders[0].notes, f"evalkit {__version__}")


def _measurements(run: RunFolder, card: Card, plugins: Sequence[str]) -> Iterator[Measurement]:
    """Yield the score of each task, then of each card row that is a mean of several."""
    known = load_tasks(plugins)
    for name in run.tasks:
        result = run.row(Formula(task=name))
        if result is None or result.score is None or name not in known:
            continue
        task = known[name]
        rows = sorted((row for row in card.rows() if name in row.tasks), key=lambda row: len(row.tasks))
        label = rows[0].label if rows else name
        dataset = (task.hub.repo, task.hub.config, task.hub.split) if task.hub else (None, None, None)
        yield Measurement(name, label, task.metric, result, *dataset)
    for row in card.rows():
        tasks = card.formula(row).tasks
        result = run.row(card.formula(row))
        if (len(tasks) > 1 or row.mean_of) and result is not None and result.score is not None:
            metrics = dict.fromkeys(known[name].metric for name in tasks if name in known)
            yield Measurement(row.id, row.label, row.metric or ", ".join(metrics), result)
