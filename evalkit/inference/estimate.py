"""``run --dry-run``: samples, tiles, tokens and an estimate of the time, without loading weights."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.inference.job import RunOptions, build_jobs, say_skipped, select
from evalkit.inference.plan import USUAL_ANSWER, Job
from evalkit.media.load import canonical
from evalkit.models import resolve_device
from evalkit.models.internvl2.config import CheckpointConfig, read_config, resolve_checkpoint
from evalkit.models.internvl2.prompt import chat_prompt, prompt_length
from evalkit.models.internvl2.tokenizer import ChatTokenizer
from evalkit.requests import layout_of, layouts, marker_count

# Share of the measured matrix speed that a run reaches.
EFFICIENCY = 0.5


def estimate(options: RunOptions) -> list[dict[str, Any]]:
    """Return a row per task, and a total row.

    The time is that of one rank with every media group's tiles and prefix computed once, from the sizes in config.json
    and a short matrix benchmark on the device.

    Raises:
        UsageError: the model is no checkpoint.
    """
    if options.model.startswith("replay:"):
        raise UsageError("--dry-run plans a checkpoint; replay computes nothing")
    folder = resolve_checkpoint(options.model)
    config = read_config(folder)
    root = DataRoot(options.data_root)
    selection = select(options.card, options.tasks, options.plugins, root)
    say_skipped(selection)
    jobs = build_jobs(selection, root, options.limit, config.tile_size)
    tokenizer = ChatTokenizer(folder)
    speed = _matrix_speed(options.device, options.dtype)
    rows = [_row(job, root, config, tokenizer, speed) for job in jobs]
    keys = ("samples", "media", "absent_media", "tiles", "prompt_tokens", "estimated_seconds")
    rows.append({"task": "total", **{key: sum(row[key] for row in rows) for key in keys}})
    return rows


def _row(job: Job, root: DataRoot, config: CheckpointConfig, tokenizer: ChatTokenizer, speed: float) -> dict[str, Any]:
    cut = layouts((view for request in job.requests for view in request.views), partial(layout_of, root=root))
    per_tile = config.tokens_per_tile
    prompt_tokens = suffix_tokens = 0
    for request in job.requests:
        found = [cut[view] for view in request.views]
        tiles = sum(layout.tiles * layout.images for layout in found if layout)
        length = prompt_length(tokenizer, chat_prompt(request.prompt), marker_count(request, found), tiles, per_tile)
        if length is None:  # will be a model_error
            continue
        prompt_tokens += length
        suffix_tokens += length - tiles * per_tile + min(request.generation.max_new_tokens, USUAL_ANSWER)
    media = {canonical(view, root): layout for view, layout in cut.items()}
    tiles = sum(layout.tiles * layout.images for layout in media.values() if layout)
    vision, language = _parameters(config)
    patches = (config.tile_size // config.vision_config.patch_size) ** 2
    work = 2 * (tiles * patches * vision + (tiles * per_tile + suffix_tokens) * language)
    return {
        "task": job.task.name,
        "samples": len(job.samples),
        "media": len(media),
        "absent_media": sum(layout is None for layout in media.values()),
        "tiles": tiles,
        "prompt_tokens": prompt_tokens,
        "estimated_seconds": round(work / (speed * EFFICIENCY), 1),
    }


def _parameters(config: CheckpointConfig) -> tuple[int, int]:
    """Return the weights that a patch and a token pass: matrices of the vision and of the language model."""
    vit, llm = config.vision_config, config.llm_config
    vision = vit.num_hidden_layers * (4 * vit.hidden_size**2 + 2 * vit.hidden_size * vit.intermediate_size)
    kv = llm.hidden_size // llm.num_attention_heads * llm.num_key_value_heads
    layer = 2 * llm.hidden_size**2 + 2 * llm.hidden_size * kv + 3 * llm.hidden_size * llm.intermediate_size
    return vision, llm.num_hidden_layers * layer


def _matrix_speed(device: str, dtype: str) -> float:
    """Return floating-point operations per second of a matrix product in the dtype of the run."""
    import torch

    place = resolve_device(device)
    if dtype == "auto":
        dtype = "bfloat16" if place.type == "cuda" else "float32"
    matrix = torch.ones(1024, 1024, device=place, dtype=getattr(torch, dtype))
    float((matrix @ matrix)[0, 0])
    started, rounds = time.perf_counter(), 20
    for _ in range(rounds):
        product = matrix @ matrix
    float(product[0, 0])  # waits for the device
    return 2 * 1024**3 * rounds / (time.perf_counter() - started)


def estimate_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the plan for reading."""
    heads = (f"{'task':24}", f"{'samples':>8}", f"{'media':>7}", f"{'absent':>7}", f"{'tiles':>8}")
    yield " ".join([*heads, f"{'prompt tokens':>14}", f"{'estimate, 1 rank':>17}"])
    for row in rows:
        yield (
            f"{row['task']:24} {row['samples']:8} {row['media']:7} {row['absent_media']:7} {row['tiles']:8} "
            f"{row['prompt_tokens']:14} {row['estimated_seconds']:15.1f} s"
        )
