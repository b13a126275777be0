"""Reference engine vs. grouped engine on the same samples, in one process and one run.

    python scripts/bench_engine.py --size small --dtype float32 --out bench

Synthetic images and questions in the proportions of the benchmarks, with random weights of a given size: the
computation and its cost do not depend on the weights' values. The reference engine is the official loop: one
question at a time, every image re-encoded. Prints, and writes as JSON and Markdown with ``--out``: samples, tiles and
tokens per second, the ratio, the share of equal answers (with the gap between the two best logits where answers part),
peak memory, and the share of the machine's measured matmul speed that goes into the unavoidable
work: each distinct tile once, each prefix once, each suffix and answer token once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from evalkit.models import load_model
from evalkit.models.base import Source
from evalkit.models.internvl2.engine import Group
from evalkit.models.internvl2.generation import Answer, Prompt, answer_alone, embed, shared_prefix
from evalkit.models.internvl2.model import InternVL2Model
from scripts.random_checkpoint import SIZES, write_random


class Load(NamedTuple):
    """A workload: groups of questions, tiles per group, and tokens per answer.

    Attributes:
        questions: of each group.
        tiles: of each group.
        images: among which the tiles are shared out (frames of a video).
        answer: tokens; random weights never emit the end token.
    """

    questions: tuple[int, ...]
    tiles: int
    images: int
    answer: int


LOADS = {
    "RefCOCO": Load((7, 7, 7, 7), 7, 1, 24),
    "DocVQA": Load((4, 4), 13, 1, 8),
    "DocVQA, 19 tiles": Load((4,), 19, 1, 8),
    "ChartQA": Load((2, 2, 1, 2, 1), 13, 1, 8),
    "MVBench": Load((1, 1), 16, 16, 2),
    "text only": Load((8,), 0, 0, 24),
}
BEFORE, SHARED, OWN = 45, 4, (8, 20)  # tokens before the media, after them in all questions, and per question
ROUNDS = 8  # of the matrix benchmark


@dataclass(frozen=True)
class Row:
    """Measurements of one load."""

    load: str
    questions: int
    groups: int
    tiles: int
    reference_s: float
    grouped_s: float
    ratio: float
    samples_per_s: float
    tiles_per_s: float
    tokens_per_s: float
    equal: float
    gaps: tuple[float, ...]
    peak_share: float
    memory_mib: int
    seconds_per_cost: float


def make_groups(model: InternVL2Model, load: Load) -> list[Group]:
    """Return the load's groups, with prompts of random tokens and tiles of noise."""
    rng = np.random.default_rng(0)
    size, tokens = model.config.tile_size, model.config.tokens_per_tile

    def some(count: int) -> list[int]:
        return [int(token) for token in rng.integers(300, 900, count)]

    groups = []
    for number, questions in enumerate(load.questions):
        start, middle = some(BEFORE), some(SHARED)
        context = [model.context_id] * (load.tiles * tokens)
        prompts = [
            Prompt(start + context + middle + some(int(rng.integers(*OWN))), load.answer, load.answer)
            for _ in range(questions)
        ]
        images = [
            rng.integers(0, 256, (load.tiles // load.images, size, size, 3), dtype=np.uint8) for _ in range(load.images)
        ]
        groups.append(Group(number, prompts, load.tiles, images))
    return groups


def grouped(model: InternVL2Model, groups: Sequence[Group]) -> dict[tuple[int, int], Answer]:
    """Return all answers of the grouped engine."""
    return {(finished.key, finished.row): finished.answer for finished in model.engine.answer(groups)}


def reference(model: InternVL2Model, groups: Sequence[Group]) -> dict[tuple[int, int], Answer]:
    """Return all answers of the official loop."""
    language, answers = model.network.language_model, {}
    for group in groups:
        for row, prompt in enumerate(group.prompts):
            (features,) = model.engine.encode([group.media])
            answers[group.key, row] = answer_alone(language, prompt, features, model.context_id, model.end_id)
    return answers


@torch.inference_mode()
def gap(model: InternVL2Model, group: Group, row: int, one: Answer, other: Answer) -> float:
    """Return the gap between the two best logits at the first difference of two answers."""
    same = next(index for index, pair in enumerate(zip(one.ids, other.ids, strict=False)) if pair[0] != pair[1])
    (features,) = model.engine.encode([group.media])
    ids = group.prompts[row].ids + one.ids[:same]
    embeds = embed(model.network.language_model, ids, model.context_id, features)
    logits = model.network.language_model(inputs_embeds=embeds[None], logits_to_keep=1).logits[0, -1].float()
    best = logits.topk(2).values
    return round(float(best[0] - best[1]), 4)


def unavoidable(model: InternVL2Model, groups: Sequence[Group]) -> float:
    """Return the floating-point operations of the unavoidable work, causal halves counted as halves."""
    vision, language = model.config.vision_config, model.config.llm_config
    patches = (model.config.tile_size // vision.patch_size) ** 2 + 1
    matrices = 4 * vision.hidden_size**2 + 2 * vision.hidden_size * vision.intermediate_size
    tile = vision.num_hidden_layers * patches * (2 * matrices + 4 * patches * vision.hidden_size)
    wide = 4 * vision.hidden_size
    tile += 2 * model.config.tokens_per_tile * (wide * language.hidden_size + language.hidden_size**2)
    key = language.hidden_size // language.num_attention_heads * language.num_key_value_heads
    layer = (
        2 * language.hidden_size * (language.hidden_size + key) + 3 * language.hidden_size * language.intermediate_size
    )
    total = 0.0
    for group in groups:
        prefix = shared_prefix(group.prompts)
        own = [len(prompt.ids) - prefix + prompt.max_new_tokens - 1 for prompt in group.prompts]
        weights = 2 * language.num_hidden_layers * layer * (prefix + sum(own))
        pairs = prefix * prefix / 2 + sum(tokens * prefix + tokens * tokens / 2 for tokens in own)
        attention = 4 * language.num_hidden_layers * language.hidden_size * pairs
        heads = 2 * language.hidden_size * language.vocab_size * sum(prompt.max_new_tokens for prompt in group.prompts)
        total += group.tiles * tile + weights + attention + heads
    return total


def matrix_speed(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Return floating-point operations per second of the fastest of some matrix products."""
    matrix, best = torch.randn(side, side, device=device).to(dtype), 0.0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        best = max(best, 2 * side**3 / (time.perf_counter() - started))
    return best


def measure(model: InternVL2Model, name: str, load: Load, speed: float) -> Row:
    """Run a load with both engines."""
    groups = make_groups(model, load)
    times, answers = [], []
    for engine in (grouped, reference):
        engine(model, groups[:1] if engine is grouped else [groups[0]._replace(prompts=groups[0].prompts[:1])])
        started = time.perf_counter()
        answers.append(engine(model, groups))
        times.append(time.perf_counter() - started)
    ours, theirs = answers
    parted = [key for key, answer in theirs.items() if ours[key].ids != answer.ids]
    questions, tiles = len(theirs), sum(group.tiles for group in groups)
    tokens = sum(len(answer.ids) for answer in ours.values())
    cost = sum(Source().cost(group.tiles, [prompt.max_new_tokens for prompt in group.prompts]) for group in groups)
    on_gpu = model.device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Row(
        name, questions, len(groups), load.tiles, round(times[1], 2), round(times[0], 2), round(times[1] / times[0], 2),
        round(questions / times[0], 4), round(tiles / times[0], 3), round(tokens / times[0], 2),
        1 - len(parted) / questions,
        tuple(gap(model, groups[key[0]], key[1], theirs[key], ours[key]) for key in parted),
        round(unavoidable(model, groups) / times[0] / speed, 3), memory >> 20, round(times[0] / cost, 3),
    )  # fmt: skip


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    head = ("load", "questions, groups, tiles", "reference s", "grouped s", "ratio", "samples/s", "tiles/s", "tokens/s")
    yield f"| {' | '.join(head)} | equal | of peak | seconds per cost unit | peak MiB |"
    yield f"|---|---{'|---:' * 10}|"
    for row in rows:
        yield (
            f"| {row.load} | {row.questions}, {row.groups}, {row.tiles} | {row.reference_s} | {row.grouped_s} "
            f"| {row.ratio:.2f}x | {row.samples_per_s:.3g} | {row.tiles_per_s:.3g} | {row.tokens_per_s:.3g} "
            f"| {row.equal:.0%} | {row.peak_share:.0%} | {row.seconds_per_cost} | {row.memory_mib} |"
        )


def machine(device: torch.device) -> str:
    """Return a description of the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _cpu_info() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8").splitlines() if info.exists() else []


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--loads", help=f"separated by semicolons (default: all: {', '.join(LOADS)})")
    parser.add_argument("--groups", type=int, metavar="N", help="the first N groups of each load")
    parser.add_argument("--memory-fraction", type=float, default=0.8)
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    args = parser.parse_args()
    names = [name.strip() for name in args.loads.split(";")] if args.loads else list(LOADS)
    with tempfile.TemporaryDirectory() as folder:
        write_random(Path(folder), args.size, getattr(torch, args.dtype))
        model = load_model(folder, device=args.device, dtype=args.dtype, memory_fraction=args.memory_fraction)
        speed = matrix_speed(model.device, model.dtype, 8192 if model.device.type == "cuda" else 2048)
        about: dict[str, Any] = {
            "size": args.size, "dtype": args.dtype, "machine": machine(model.device), "torch": torch.__version__,
            "gemm_gflops": round(speed / 1e9),
        }  # fmt: skip
        print(", ".join(f"{key} {value}" for key, value in about.items()), file=sys.stderr)
        rows = []
        for name in names:
            load = LOADS[name]._replace(questions=LOADS[name].questions[: args.groups])
            rows.append(measure(model, name, load, speed))
            print(list(table(rows[-1:]))[-1], *(f"gaps {row.gaps}" for row in rows[-1:] if row.gaps), file=sys.stderr)
    print("\n".join(table(rows)))
    if args.out:
        args.out.with_suffix(".md").write_text("\n".join(table(rows)) + "\n", encoding="utf-8")
        content = json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=1)
        args.out.with_suffix(".json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
