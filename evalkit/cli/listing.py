"""What ``tasks`` and ``show`` print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from evalkit.card import load_card
from evalkit.data.root import DataRoot
from evalkit.inference.plan import Job
from evalkit.plugins import load_tasks
from evalkit.records import Layout, Request, View
from evalkit.requests import layout_of, layouts, marker_count


def describe_tasks(plugins: Sequence[str], card_name: str | None, root: DataRoot | None) -> list[dict[str, Any]]:
    """Return name, metric, card rows, official count and presence of every task."""
    card = load_card(card_name or "internvl2")
    rows = []
    for task in load_tasks(plugins).values():
        missing = root.missing(task.files) if root else None
        row = {
            "task": task.name,
            "metric": task.metric,
            "card_rows": list(card.rows_of(task.name)),
            "samples": task.expected_n,
            "labels": "local" if task.labelled else "hidden",
            "present": None if missing is None else not missing,
            "missing": missing,
            "get": task.get,
        }
        rows.append(row)
    return rows


def task_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a line per task."""
    width = max(len(row["task"]) for row in rows)
    states = {None: "", True: "  data present", False: "  data missing"}
    for row in rows:
        hidden = "  (labels hidden)" if row["labels"] == "hidden" else ""
        card = ", ".join(row["card_rows"]) or "-"
        line = f"{row['task']:{width}}  {row['samples']:6}  {row['metric']:22}  card: {card}{hidden}"
        yield line + states[row["present"]] + (f": {', '.join(row['missing'][:2])}" if row["missing"] else "")


def describe_requests(job: Job, root: DataRoot, model: str | None) -> list[dict[str, Any]]:
    """Return exactly what the model would be sent for each sample.

    Args:
        job: the task with its requests.
        root: the data root; only headers of media are read.
        model: a checkpoint whose prompt and token count are added.
    """
    cut = layouts((view for request in job.requests for view in request.views), partial(layout_of, root=root))
    prompt = _prompter(model) if model and not model.startswith("replay:") else None
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
        if prompt is not None:
            entry |= prompt(request, [cut[view] for view in request.views])
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


def _prompter(model: str) -> Any:
    from evalkit.models.internvl2.config import read_config, resolve_checkpoint
    from evalkit.models.internvl2.prompt import chat_prompt, prompt_length
    from evalkit.models.internvl2.tokenizer import ChatTokenizer

    folder = resolve_checkpoint(model)
    per_tile = read_config(folder).tokens_per_tile
    tokenizer = ChatTokenizer(folder)

    def prompt(request: Request, cut: Sequence[Layout | None]) -> dict[str, Any]:
        text = chat_prompt(request.prompt)
        known = [layout for layout in cut if layout is not None]
        tokens = None
        if len(known) == len(cut):
            tiles = sum(item.tiles * item.images for item in known)
            tokens = prompt_length(tokenizer, text, marker_count(request, known), tiles, per_tile)
        return {"model_prompt": text, "prompt_tokens": tokens}

    return prompt


def request_lines(shown: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the samples for reading."""
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
