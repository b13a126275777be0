"""``run --dry-run``: samples, tiles, tokens and an estimate of the time, without loading weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from evalkit.data.root import DataRoot
from evalkit.inference.options import RunOptions
from evalkit.inference.plan import USUAL_ANSWER
from evalkit.media.load import canonical
from evalkit.models import find_model
from evalkit.models.base import Source, Work
from evalkit.records import Layout, View
from evalkit.requests import layout_of, layouts
from evalkit.selection import Job, build_jobs, say_skipped, select


def estimate(options: RunOptions) -> list[dict[str, Any]]:
    """Return a row per task, and a total row.

    The time is the source's estimate for one rank, every media group's tiles and prefix computed once. Unknown values
    are None.
    """
    source = find_model(options.model, options.model_options, options.plugin)
    root = DataRoot(options.data_root)
    selection = select(options.card, options.tasks, options.plugin, root)
    say_skipped(selection)
    tile_size = source.tile_size or selection.card.tile_size
    with_images = source.wants != "nothing"
    jobs = build_jobs(selection, root, options.limit, tile_size, source.refuses, with_images)
    rows = [_row(job, root, source) for job in jobs]
    keys = ("samples", "media", "absent_media", "tiles", "prompt_tokens", "estimated_seconds")
    rows.append({"task": "total", **{key: _sum([row[key] for row in rows]) for key in keys}})
    return rows


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _row(job: Job, root: DataRoot, source: Source) -> dict[str, Any]:
    cut = layouts((view for request in job.requests for view in request.views), partial(layout_of, root=root))
    shown, prompt_tokens, answer_tokens = _tokens(job, source, cut)
    media = {canonical(view, root): layout for view, layout in cut.items()}
    tiles = sum(layout.tiles * layout.images for layout in media.values() if layout)
    tokens = None if prompt_tokens is None else prompt_tokens + answer_tokens
    seconds = None if tokens is None else source.seconds(Work(tiles, shown, tokens))
    return {
        "task": job.task.name,
        "samples": len(job.samples),
        "media": len(media),
        "absent_media": sum(layout is None for layout in media.values()),
        "tiles": tiles,
        "prompt_tokens": prompt_tokens,
        "estimated_seconds": None if seconds is None else round(seconds, 1),
    }


def _tokens(job: Job, source: Source, cut: dict[View, Layout | None]) -> tuple[int, int | None, int]:
    """Return tiles and tokens of all prompts (None if unknown), and the tokens of all answers."""
    shown = prompts = answers = counted = 0
    for request in job.requests:
        known = [layout for view in request.views if (layout := cut[view])]
        rendered = source.render(request, known)
        if rendered is not None and rendered.tokens is not None:  # a prompt without a length becomes a model_error
            counted += 1
            prompts += rendered.tokens
            shown += sum(layout.tiles * layout.images for layout in known)
            answers += min(request.generation.max_new_tokens, USUAL_ANSWER)
    return shown, prompts if counted else None, answers


def estimate_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the estimate as lines of text."""
    heads = (f"{'task':24}", f"{'samples':>8}", f"{'media':>7}", f"{'absent':>7}", f"{'tiles':>8}")
    yield " ".join([*heads, f"{'prompt tokens':>14}", f"{'estimate, 1 rank':>17}"])
    for row in rows:
        tokens = "-" if row["prompt_tokens"] is None else row["prompt_tokens"]
        seconds = "-" if row["estimated_seconds"] is None else f"{row['estimated_seconds']:.1f} s"
        yield (
            f"{row['task']:24} {row['samples']:8} {row['media']:7} {row['absent_media']:7} {row['tiles']:8} "
            f"{tokens:>14} {seconds:>17}"
        )
