"""``show``: exactly what would be sent to the model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from evalkit.cli.options import add_card, add_data_root, add_limit, add_model_option, add_plugin
from evalkit.cli.parser import Subparsers, add_command, emit

if TYPE_CHECKING:
    from evalkit.data.root import DataRoot
    from evalkit.models.base import Source
    from evalkit.records import Layout, View
    from evalkit.selection import Job


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "show", command, "evalkit show chartqa_test_human --data-root D --limit 3")
    parser.add_argument("task", metavar="TASK", help="task to show")
    add_data_root(parser)
    add_card(parser)
    parser.add_argument("--model", metavar="M", help="also apply this model's chat template and count tokens")
    add_model_option(parser)
    add_limit(parser)
    add_plugin(parser)


def command(args: argparse.Namespace) -> int:
    """Show exactly what would be sent to the model."""
    from evalkit.data.root import DataRoot
    from evalkit.models import find_model
    from evalkit.runs.results import report_gaps
    from evalkit.selection import build_jobs, select

    root = DataRoot(args.data_root)
    selection = select(args.card, [args.task], args.plugin, root)
    source = find_model(args.model, dict(args.model_option), args.plugin) if args.model else None
    tile_size = source.tile_size if source and source.tile_size else selection.card.tile_size
    (job,) = build_jobs(selection, root, args.limit, tile_size, source.refuses if source else None)
    shown = describe_requests(job, root, source)
    if args.json:
        emit(shown)
    else:
        print("\n".join(request_lines(shown)))
    return report_gaps({}, selection.missing, None)


def describe_requests(job: Job, root: DataRoot, source: Source | None) -> list[dict[str, Any]]:
    """Return exactly what would be sent to the model for each sample.

    Args:
        job: the task with its requests.
        root: the data root; only headers of media are read.
        source: adds the model's prompt and token count.
    """
    from evalkit.requests import layout_of, layouts

    cut = layouts((view for request in job.requests for view in request.views), partial(layout_of, root=root))
    shown = []
    for sample, request in zip(job.samples, job.requests, strict=True):
        entry: dict[str, Any] = {
            "id": request.id,
            "prompt": request.prompt,
            "media": [_describe_view(view, cut[view]) for view in request.views],
            "generation": {
                "max_new_tokens": request.generation.max_new_tokens,
                "min_new_tokens": request.generation.min_new_tokens,
                "do_sample": False,
            },
            "references": [list(item) if isinstance(item, tuple) else item for item in sample.references],
            "group": sample.group,
        }
        if request.merged:
            entry["merged"] = True
        known = [layout for view in request.views if (layout := cut[view])]
        if source and (rendered := source.render(request, known)):
            whole = len(known) == len(request.views)
            entry |= {"model_prompt": rendered.text, "prompt_tokens": rendered.tokens if whole else None}
        shown.append(entry)
    return shown


def _describe_view(view: View, layout: Layout | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": view.media.path}
    if view.frames:
        shown |= {"start": view.media.start, "end": view.media.end}
        shown["frames"] = list(layout.frames) if layout else None
    steps = {"enlarge": view.enlarge if view.enlarge > 1 else None, "keep_mode": view.keep_mode, "jpeg": view.jpeg}
    shown |= {name: value for name, value in steps.items() if value}
    grid = list(layout.grid) if layout and layout.grid else None
    return shown | {"grid": grid, "tiles": layout.tiles * layout.images if layout else None}


def request_lines(shown: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the samples as lines of text."""
    for entry in shown:
        yield f"== {entry['id']}  group {entry['group']}"
        for media in entry["media"]:
            grid = "absent" if media["tiles"] is None else f"{media['tiles']} tiles, grid {media['grid']}"
            frames = f", frames {media['frames']}" if media.get("frames") else ""
            steps = "".join(f", {name} {media[name]}" for name in ("enlarge", "keep_mode", "jpeg") if name in media)
            yield f"media: {media['path']}  ({grid}{frames}{steps})"
        if entry.get("merged"):
            yield "media: all tiles behind one <image> marker"
        yield entry.get("model_prompt", entry["prompt"])
        if "prompt_tokens" in entry:
            yield f"prompt tokens: {entry['prompt_tokens']}"
        yield f"references: {entry['references']}  generation: {entry['generation']}"
