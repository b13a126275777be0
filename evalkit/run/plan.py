"""What is to be asked, grouped by media and ordered for the queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from evalkit.data.root import DataRoot
from evalkit.media.load import Layout, canonical
from evalkit.records import Recipe, Request, Sample, View
from evalkit.task import Task

# Relative costs, from the parameters that work on each: a tile passes 0.3 G of vision weights for 1025 patches
# and leaves 256 tokens for 0.5 G of language weights; an answer is a dozen single steps.
TILE_COST = 4.0
ANSWER_COST = 1.0

# Files whose headers are read at a time.
PROBES = min(4, os.cpu_count() or 1)

Unit = list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Job:
    """One task of a run: its samples and what is asked.

    Attributes:
        task: the task.
        recipe: how it is asked.
        samples: the samples, in order.
        requests: one per sample.
    """

    task: Task
    recipe: Recipe
    samples: list[Sample]
    requests: list[Request]


Probe = Callable[[View], Layout | None]


def layouts(views: Iterable[View], probe: Probe) -> dict[View, Layout | None]:
    """Return how each view is cut, from file headers; absent and unreadable media give None."""
    distinct = list(dict.fromkeys(views))
    with ThreadPoolExecutor(PROBES) as pool:
        return dict(zip(distinct, pool.map(probe, distinct), strict=True))


def plan(jobs: Sequence[Job], done: Mapping[str, Set[str]], root: DataRoot, probe: Probe | None) -> list[Unit]:
    """Return the units of work, the costliest first.

    A unit is one image (or video, or set of images) with all open questions on it, of all tasks that look at it in the
    same way: its tiles are encoded once.

    Args:
        jobs: the tasks.
        done: ids that have an answer already, by task.
        root: the data root.
        probe: tells how a view is cut; None: the model looks at no media, and all groups cost the same.
    """
    groups: dict[tuple[View, ...], Unit] = {}
    for job in jobs:
        answered = done.get(job.task.name, frozenset())
        for request in job.requests:
            if request.id not in answered:
                views = tuple(canonical(view, root) for view in request.views)
                groups.setdefault(views, []).append((job.task.name, request.index))
    cut = layouts((view for views in groups for view in views), probe) if probe else {}

    def cost(item: tuple[tuple[View, ...], Unit]) -> float:
        views, unit = item
        tiles = sum(layout.tiles * layout.images for view in views if (layout := cut.get(view)))
        return TILE_COST * tiles + ANSWER_COST * len(unit)

    return [unit for _, unit in sorted(groups.items(), key=cost, reverse=True)]
