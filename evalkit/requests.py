"""Applies a recipe to samples: the exact requests to a model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from evalkit.data.root import DataRoot
from evalkit.errors import MediaError, UsageError
from evalkit.media.load import probe
from evalkit.records import FirstLook, Generation, Layout, Look, Media, Recipe, Request, Sample, View
from evalkit.task import Task

# Threads that read file headers.
PROBES = min(4, os.cpu_count() or 1)

Probe = Callable[[View], Layout | None]


def build_requests(
    task: Task, samples: Sequence[Sample], recipe: Recipe, root: DataRoot, tile_size: int
) -> list[Request]:
    """Return one request per sample, in order.

    Args:
        task: the samples' task.
        samples: its samples.
        recipe: the card's recipe, or the task's own.
        root: the data root; media are only read if the recipe does not fix the number of frames (gif), or if the
            task's prompts depend on them (``Task.subtitles``).
        tile_size: side of the model's tiles in pixels.

    Raises:
        UsageError: the recipe samples no frames but the task has videos.
    """
    generation = Generation(recipe.max_new_tokens, recipe.min_new_tokens)
    shown = [views_of(sample.media, recipe.look, tile_size) for sample in samples]
    probed = (view for views in shown for view in views if task.subtitles or view.media.kind == "gif")
    cut = layouts(probed, partial(layout_of, root=root))
    requests = []
    for index, (sample, views) in enumerate(zip(samples, shown, strict=True)):
        images = sum(_images(task, view, cut.get(view)) for view in views)
        merged = recipe.look.merge and images > 1
        subtitles = task.subtitles(sample, [cut[view] for view in views]) if task.subtitles else ""
        prompt = _user_turn(task, sample, recipe, subtitles, 1 if merged else images)
        requests.append(Request(task.name, index, sample.id, prompt, views, generation, merged))
    return requests


def _user_turn(task: Task, sample: Sample, recipe: Recipe, subtitles: str, markers: int) -> str:
    """Return a sample's user turn with this many ``<image>`` markers.

    Raises:
        UsageError: the recipe has no suffix for this form of question.
    """
    if "{suffix}" in recipe.prompt and sample.form not in recipe.suffixes:
        known = ", ".join(recipe.suffixes) or "none"
        raise UsageError(
            f"task {task.name}: sample {sample.id!r} has the form {sample.form!r}, for which its recipe has no suffix "
            f"(suffixes: {known})"
        )
    turn = recipe.several if recipe.several and len(sample.media) > 1 else recipe

    def repeated(text: str, separator: str) -> str:
        return separator.join(text.replace("{i}", str(number + 1)) for number in range(markers))

    filled = turn.prompt.format(
        media=repeated(turn.media_prompt, turn.media_separator),
        question=sample.question,
        subtitles=subtitles,
        suffix=recipe.suffixes.get(sample.form, ""),
        labels=repeated(recipe.several.label, "") if recipe.several else "",
    )
    return filled.replace(recipe.delete, "") if recipe.delete else filled


def views_of(media: Sequence[Media], look: Look, tile_size: int) -> tuple[View, ...]:
    """Return how each image or video of a sample is shown."""
    return tuple(_view(item, look, FirstLook() if index else look.first, tile_size) for index, item in enumerate(media))


def _view(media: Media, look: Look, changed: FirstLook, tile_size: int) -> View:
    return View(
        media=media,
        tile_size=tile_size,
        max_tiles=changed.max_tiles or look.max_tiles,
        thumbnail=look.thumbnail,
        frames=look.frames,
        frame_rule=look.frame_rule,
        enlarge=changed.enlarge or look.enlarge,
        keep_mode=look.keep_mode,
        jpeg=None if media.lossless else look.jpeg,
    )


def pixels_of(request: Request, load: Callable[[View], list[npt.NDArray[np.uint8]]]) -> list[npt.NDArray[np.uint8]]:
    """Return a request's tiles, one uint8 array (tiles, S, S, 3) per ``<image>`` marker.

    Raises:
        MediaError: an image or video cannot be read.
    """
    arrays = [tiles for view in request.views for tiles in load(view)]
    return [np.concatenate(arrays)] if request.merged else arrays


def marker_count(request: Request, cut: Iterable[Layout | None]) -> int:
    """Return the number of ``<image>`` markers of a request's media; absent media count as one image."""
    return 1 if request.merged else sum(layout.images if layout else 1 for layout in cut)


def recipe_for(task: Task, card_recipe: Recipe | None, card: str) -> Recipe:
    """Return the card's recipe for a task, or the task's own.

    Raises:
        UsageError: neither exists, or the task's own has an invalid value.
    """
    if card_recipe is not None:
        return card_recipe
    if task.recipe is None:
        raise UsageError(f"no recipe for task {task.name!r} in card {card!r} or in the task")
    return read_recipe(asdict(task.recipe), f"recipe of task {task.name!r}")


def read_recipe(content: Mapping[str, Any], name: str) -> Recipe:
    """Return a recipe from its JSON content.

    Args:
        content: as ``dataclasses.asdict`` gives it.
        name: its name in the message.

    Raises:
        UsageError: a key is unknown or missing, or a value is invalid.
    """
    try:
        return TypeAdapter(Recipe).validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"{name}: {key}: {first['msg']}") from error


def layouts(views: Iterable[View], probe: Probe) -> dict[View, Layout | None]:
    """Return how each view is cut, from file headers; absent and unreadable media give None."""
    distinct = list(dict.fromkeys(views))
    with ThreadPoolExecutor(PROBES) as pool:
        return dict(zip(distinct, pool.map(probe, distinct), strict=True))


def layout_of(view: View, root: DataRoot) -> Layout | None:
    """Return how a view is cut; None if its media is absent or cannot be read."""
    try:
        return probe(view, root)
    except (MediaError, UsageError):  # UsageError: a path outside the data root, which fails the sample later
        return None


def _images(task: Task, view: View, layout: Layout | None) -> int:
    """Return the number of images or frames that a view shows."""
    if view.media.kind in ("image", "row"):
        return 1
    if view.frames < 1:
        raise UsageError(f"task {task.name!r} asks about videos but its recipe samples no frames (look.frames: 0)")
    return layout.images if layout and view.media.kind == "gif" else view.frames
