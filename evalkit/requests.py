"""Applies a recipe to samples: what a model is asked, exactly."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from evalkit.data.root import DataRoot
from evalkit.errors import MediaError, UsageError
from evalkit.media.load import Layout, probe
from evalkit.records import Generation, Recipe, Request, Sample, View
from evalkit.task import Task

# Files whose headers are read at a time.
PROBES = min(4, os.cpu_count() or 1)

Probe = Callable[[View], Layout | None]


def build_requests(
    task: Task, samples: Sequence[Sample], recipe: Recipe, root: DataRoot, tile_size: int
) -> list[Request]:
    """Return one request per sample, in order.

    Args:
        task: the samples' task.
        samples: its samples.
        recipe: how the card asks them.
        root: the data root; only media whose number of frames is not fixed by the recipe (gif) are looked at.
        tile_size: side of the model's tiles in pixels.

    Raises:
        UsageError: the recipe samples no frames but the task has videos.
    """
    generation = Generation(recipe.max_new_tokens, recipe.min_new_tokens)
    requests = []
    for index, sample in enumerate(samples):
        views = tuple(
            View(media, tile_size, recipe.max_tiles, recipe.thumbnail, recipe.frames, recipe.frame_rule)
            for media in sample.media
        )
        images = sum(_images(task, view, root) for view in views)
        media = recipe.media_separator.join(
            recipe.media_prompt.replace("{i}", str(number + 1)) for number in range(images)
        )
        prompt = recipe.prompt.format(media=media, question=sample.question)
        requests.append(Request(task.name, index, sample.id, prompt, views, generation))
    return requests


def recipe_for(task: Task, card_recipe: Recipe | None, card: str) -> Recipe:
    """Return the card's recipe for a task, or the task's own.

    Raises:
        UsageError: neither has one.
    """
    recipe = card_recipe or task.recipe
    if recipe is None:
        raise UsageError(f"card {card!r} has no recipe for task {task.name!r} and the task brings none")
    return recipe


def layouts(views: Iterable[View], probe: Probe) -> dict[View, Layout | None]:
    """Return how each view is cut, from file headers; absent and unreadable media give None."""
    distinct = list(dict.fromkeys(views))
    with ThreadPoolExecutor(PROBES) as pool:
        return dict(zip(distinct, pool.map(probe, distinct), strict=True))


def layout_of(view: View, root: DataRoot) -> Layout | None:
    """Return how a view is cut; None where its media is absent or cannot be read."""
    try:
        return probe(view, root)
    except (MediaError, UsageError):  # a path that leaves the data root: the sample's failure when it is asked
        return None


def _images(task: Task, view: View, root: DataRoot) -> int:
    """Return the number of ``<image>`` markers of a view."""
    if view.media.kind in ("image", "row"):
        return 1
    if view.frames < 1:
        raise UsageError(f"task {task.name!r} asks about videos but its recipe samples no frames (frames: 0)")
    if view.media.kind == "gif":
        layout = layout_of(view, root)
        return layout.images if layout else view.frames
    return view.frames
