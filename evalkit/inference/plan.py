"""What is to be asked, grouped by media and ordered for the queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from evalkit.data.root import DataRoot
from evalkit.media.load import Layout, canonical
from evalkit.records import View
from evalkit.selection import Job

# Expected tokens of an answer where the limit is higher: single words, letters and boxes are what is asked for.
USUAL_ANSWER = 12

# Files whose headers are read at a time.
PROBES = min(4, os.cpu_count() or 1)

Unit = list[tuple[str, int]]


Probe = Callable[[View], Layout | None]


def layouts(views: Iterable[View], probe: Probe) -> dict[View, Layout | None]:
    """Return how each view is cut, from file headers; absent and unreadable media give None."""
    distinct = list(dict.fromkeys(views))
    with ThreadPoolExecutor(PROBES) as pool:
        return dict(zip(distinct, pool.map(probe, distinct), strict=True))


class Plan(NamedTuple):
    """Units of work, the costliest first, and what each costs."""

    units: list[Unit]
    costs: list[float]


def plan(
    jobs: Sequence[Job],
    done: Mapping[str, Set[str]],
    root: DataRoot,
    probe: Probe | None,
    cost: Callable[[int, Iterable[int]], float],
) -> Plan:
    """Return the units of work, the costliest first.

    A unit is one image (or video, or set of images) with all open questions on it, of all tasks that look at it in the
    same way: its tiles are encoded once.

    Args:
        jobs: the tasks.
        done: ids that have an answer already, by task.
        root: the data root.
        probe: tells how a view is cut; None: the model looks at no media, and only the questions cost.
        cost: what a group costs from its tiles and the expected tokens of each answer (``Source.cost``).
    """
    groups: dict[tuple[View, ...], Unit] = {}
    answers: dict[tuple[View, ...], list[int]] = {}
    for job in jobs:
        answered = done.get(job.task.name, frozenset())
        for request in job.requests:
            if request.id not in answered:
                views = tuple(canonical(view, root) for view in request.views)
                groups.setdefault(views, []).append((job.task.name, request.index))
                answers.setdefault(views, []).append(min(request.generation.max_new_tokens, USUAL_ANSWER))
    cut = layouts((view for views in groups for view in views), probe) if probe else {}
    priced = []
    for views, unit in groups.items():
        tiles = sum(layout.tiles * layout.images for view in views if (layout := cut.get(view)))
        priced.append((cost(tiles, answers[views]), unit))
    priced.sort(key=lambda item: -item[0])
    return Plan([unit for _, unit in priced], [round(cost, 2) for cost, _ in priced])
