"""Requests without an answer, grouped by media and ordered for the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from evalkit.data.root import DataRoot
from evalkit.media.load import canonical
from evalkit.records import View
from evalkit.requests import Probe, layouts
from evalkit.selection import Job

# Expected tokens of an answer if the limit is higher: most answers are single words, letters or boxes.
USUAL_ANSWER = 12
# Requests without media share nothing that must be computed once: units of this size fail and resume alone.
TEXT_UNIT = 64

Unit = list[tuple[str, int]]


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

    A unit is one image (or video, or set of images) with all unanswered requests about it, from all tasks that show it
    in the same way: its tiles are encoded once. Requests without media form units of at most ``TEXT_UNIT``.

    Args:
        jobs: the tasks.
        done: ids that already have an answer, by task.
        root: the data root.
        probe: returns how a view is cut; None if the model uses no media, so that only the questions cost.
        cost: what a group costs from its tiles and the expected tokens of each answer (``Source.cost``).
    """
    groups: dict[tuple[tuple[View, ...], bool], Unit] = {}
    answers: dict[tuple[tuple[View, ...], bool], list[int]] = {}
    for job in jobs:
        answered = done.get(job.task.name, frozenset())
        for request in job.requests:
            if request.id not in answered:
                key = (tuple(canonical(view, root) for view in request.views), request.merged)
                groups.setdefault(key, []).append((job.task.name, request.index))
                answers.setdefault(key, []).append(min(request.generation.max_new_tokens, USUAL_ANSWER))
    cut = layouts((view for views, _ in groups for view in views), probe) if probe else {}
    priced = []
    for key, unit in groups.items():
        tiles = sum(layout.tiles * layout.images for view in key[0] if (layout := cut.get(view)))
        size = len(unit) if key[0] else TEXT_UNIT
        for start in range(0, len(unit), size):
            part = slice(start, start + size)
            priced.append((cost(tiles, answers[key][part]), unit[part]))
    priced.sort(key=lambda item: -item[0])
    return Plan([unit for _, unit in priced], [round(cost, 2) for cost, _ in priced])
