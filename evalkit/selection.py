"""The tasks of a card that have data, and the requests for their samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.card import Card, load_card
from evalkit.console import listed, say
from evalkit.data.root import DataRoot
from evalkit.errors import IncompleteError, UsageError
from evalkit.media.rows import has_images, table_of
from evalkit.plugins import choose, load_tasks
from evalkit.records import Recipe, Request, Sample
from evalkit.requests import build_requests, recipe_for
from evalkit.scoring import check_labels
from evalkit.task import Task

DEFAULT_CARD = "internvl2"


@dataclass(frozen=True, slots=True)
class Selection:
    """The tasks of a run, and missing data.

    Attributes:
        card: the card whose recipes apply.
        tasks: tasks with data.
        missing: absent data files of the requested tasks.
        skipped: tasks of the card that have no data.
        undefined: tasks of the card that no plugin defines.
    """

    card: Card
    tasks: list[Task]
    missing: list[str]
    skipped: list[str]
    undefined: list[str]


@dataclass(frozen=True, slots=True)
class Job:
    """One task of a run: its samples and their requests.

    Attributes:
        task: the task.
        recipe: its recipe.
        samples: the samples, in order.
        requests: one per sample.
    """

    task: Task
    recipe: Recipe
    samples: list[Sample]
    requests: list[Request]


def select(card_name: str | None, names: Sequence[str], plugins: Sequence[str], root: DataRoot) -> Selection:
    """Return the requested tasks whose data is present: those named, or else those of the card's rows.

    Raises:
        UsageError: an unknown task or card.
        IncompleteError: no requested task has data; lists what is missing.
    """
    card = load_card(card_name or DEFAULT_CARD)
    known = load_tasks(plugins)
    wanted = choose(known, names) if names else [known[name] for name in card.tasks() if name in known]
    chosen, missing, skipped = [], [], []
    for task in wanted:
        absent = root.missing(task.files_in(root))
        usable = task.usable_without(absent, root)
        if usable:
            chosen.append(task)
        if absent and (names or usable):
            missing += [f"{path} ({task.name})" for path in absent]
        elif absent:
            skipped.append(task.name)
    if not chosen:
        needed = missing or [f"{path} ({task.name})" for task in wanted for path in root.missing(task.files)]
        raise IncompleteError(f"no data under {root.given} for any requested task; missing: {listed(needed)}")
    undefined = [] if names else [name for name in card.tasks() if name not in known]
    return Selection(card, chosen, missing, skipped, undefined)


def say_skipped(selection: Selection) -> None:
    """Print which tasks of the card are skipped, and why."""
    if selection.skipped:
        say(f"skipped, no data for: {', '.join(selection.skipped)}")
    if selection.undefined:
        say(f"skipped, no plugin defines: {', '.join(selection.undefined)}")


def build_jobs(
    selection: Selection,
    root: DataRoot,
    limit: int | None,
    tile_size: int,
    refuses: Callable[[Recipe], str | None] | None = None,
    with_images: bool = False,
) -> list[Job]:
    """Read the samples of the selected tasks and apply the card's recipes.

    Args:
        selection: the tasks and their card.
        root: the data root.
        limit: use only the first N samples of each task; None uses all.
        tile_size: side of the model's tiles in pixels.
        refuses: returns why the model does not support a recipe; None if it does.
        with_images: whether the samples' images are needed: a table without a column for them is refused.

    Raises:
        UsageError: a data file is invalid or has no images, or the model does not support a task's recipe.
    """
    jobs = []
    for task in selection.tasks:
        recipe = recipe_for(task, selection.card.recipe(task.name), selection.card.name)
        if refuses and (reason := refuses(recipe)):
            raise UsageError(f"task {task.name}: the model does not support its recipe: {reason}")
        samples = list(task.load(root))[:limit]
        check_labels(task, samples)  # before hours of inference rather than after
        if with_images:
            _refuse_tables_without_images(task, samples, root)
        jobs.append(Job(task, recipe, samples, build_requests(task, samples, recipe, root, tile_size)))
    return jobs


def _refuse_tables_without_images(task: Task, samples: Sequence[Sample], root: DataRoot) -> None:
    media = (item for sample in samples for item in sample.media if item.kind == "row")
    for table in dict.fromkeys(map(table_of, media)):
        if not has_images(root.resolve(table)):
            raise UsageError(
                f"task {task.name}: {table} has no 'image' column: its answers can be scored, but a model needs the "
                "images; get the whole file"
            )


def card_reference(card: str | None) -> str:
    """Return how run.json names a card, independent of the working folder."""
    path = Path(card or DEFAULT_CARD)
    return str(path.resolve()) if path.is_file() else str(path)
