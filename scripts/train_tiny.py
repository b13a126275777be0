"""Trains the demo's tiny InternVL2 on freshly drawn lessons.

    torchrun --nproc-per-node 2 scripts/train_tiny.py --out tiny

The model has the official config keys, tensor names, prompt format and tiling, and is loaded by the loader that real
checkpoints use. Every image token has notes of what its cell shows, and each kind of note a code, a vector. At first
the vision encoder learns to give the codes, and the language model to answer from them; then the language model is
handed over, batch by batch, to what the vision encoder gives. No lesson is seen twice, so the printed loss is that of
unseen data. Writes the checkpoint (half precision), ``loss.csv`` and ``training.json``. Every rank draws its own
lessons; one thread and one core a rank is faster than many threads, and ``python scripts/train_tiny.py`` alone is one
rank.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from tqdm import tqdm

from evalkit.models.internvl2.config import read_config
from evalkit.models.internvl2.network import InternVL2, load_network, normalise
from evalkit.models.internvl2.prompt import CONTEXT, END, encode_prompt
from evalkit.models.internvl2.tokenizer import ChatTokenizer
from scripts.tiny.layout import export, write_untrained
from scripts.tiny.lessons import CELLS, COURSES, Lesson, lesson, recipes

SEED = "evalkit tiny model"  # the demo's own data are drawn with other seeds
STEPS = 4000
PEAK_RATE, LAST_RATE = 1.5e-3, 3e-5
WARMUP_STEPS = 150
TOLD = (0.25, 0.45)  # share of the steps until which the language model is told what the pictures show, and sees all
CODE = 4.0  # length of a code, as that of the embeddings
SHARPNESS = 3.0  # of telling what a cell shows
NOTES_WEIGHT = 1.0  # of the vision encoder's own loss beside the answers'
BATCHES = (9, 7, 4)  # how often each kind of batch is drawn
ANSWERS = 40.0  # about the summed weight of the answers of a step


class Row(NamedTuple):
    """A lesson as one sequence: the shared prefix, then each question with its answer.

    Attributes:
        ids: all tokens.
        targets: the token to come.
        weights: of the targets: those of an answer share the square root of their number; others 0.
        blocks: 0 in the prefix, else the 1-based number of the turn.
        positions: as if the turn stood alone behind the prefix.
    """

    ids: list[int]
    targets: list[int]
    weights: list[float]
    blocks: list[int]
    positions: list[int]


def drawings(rank: int) -> Iterator[list[Lesson]]:
    """Yield batches without end; those of a step are of one kind on all ranks, so that none waits for another."""
    asked = recipes()
    kinds, rng = Random(f"{SEED} kinds"), Random(f"{SEED} {rank}")
    while True:
        kind = kinds.choices(range(len(BATCHES)), BATCHES)[0]
        taught = [course for course in COURSES if course.batch == kind]
        yield [lesson(course, asked[course.task], rng) for course in taught for _ in range(course.share)]


def pack(item: Lesson, tokenizer: ChatTokenizer) -> Row:
    """Lay a lesson's turns behind their common prefix."""
    turns = [
        (encode_prompt(tokenizer, prompt, item.images, CELLS * CELLS), tokenizer.encode(answer + END))
        for prompt, answer in item.turns
    ]
    shortest = min(len(prompt) for prompt, _ in turns) - 1
    shared = next((i for i in range(shortest) if len({prompt[i] for prompt, _ in turns}) > 1), shortest)
    row = Row(turns[0][0][:shared], [0] * shared, [0.0] * shared, [0] * shared, list(range(shared)))
    for number, (prompt, answer) in enumerate(turns, 1):
        turn = prompt[shared:] + answer[:-1]
        asked = len(turn) - len(answer)
        row.ids.extend(turn)
        row.targets.extend([0] * asked + answer)
        row.weights.extend([0.0] * asked + [len(answer) ** -0.5] * len(answer))
        row.blocks.extend([number] * len(turn))
        row.positions.extend(range(shared, shared + len(turn)))
    return row


class Batch(NamedTuple):
    """Rows padded on the right, (rows, length) each; ``mask`` is 0 where a token may look, else hugely negative."""

    ids: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    mask: Tensor


def collate(rows: Sequence[Row], device: torch.device) -> Batch:
    """Pad rows; a turn sees the prefix and itself, never another turn."""
    length = max(len(row.ids) for row in rows)

    def padded(name: str, fill: float) -> Tensor:
        values = [getattr(row, name) for row in rows]
        return torch.tensor([value + [fill] * (length - len(value)) for value in values], device=device)

    blocks = padded("blocks", -1)
    same = (blocks[:, :, None] == blocks[:, None, :]) | (blocks[:, None, :] == 0)
    mask = same & torch.ones(length, length, dtype=torch.bool, device=device).tril()
    hidden = torch.where(mask, 0.0, -1e9).to(torch.bfloat16)[:, None]
    return Batch(padded("ids", 0), padded("targets", 0), padded("weights", 0.0), padded("positions", 0), hidden)


class Trainer:
    """The network, a head that only training needs, and one step of it."""

    def __init__(self, folder: Path, labels: Sequence[str], device: torch.device) -> None:
        config = read_config(folder)
        self.device = device
        self.tokenizer = ChatTokenizer(folder)
        self.context_id = self.tokenizer.convert_tokens_to_ids(CONTEXT)
        self.network: InternVL2 = load_network(folder, config, device, torch.float32, "eager")  # the faster one here
        self.network.train().requires_grad_(True)
        self.labels = {label: place for place, label in enumerate(labels)}
        first = torch.randn(len(labels), config.llm_config.hidden_size, generator=torch.Generator().manual_seed(0))
        self.codes = nn.Parameter(first.to(device))  # the same on every rank
        self.parameters = [*self.network.parameters(), self.codes]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters if p.ndim > 1], "weight_decay": 0.02},
            {"params": [p for p in self.parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))

    def step(
        self, lessons: Sequence[Lesson], rate: float, told: float, log: dict[str, list[float]], ranks: int
    ) -> None:
        """Learn from a batch, together with the other ranks; ``told`` is the share of batches that get the notes."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=False)
        self.loss(lessons, bool(torch.rand(()) < told), log).backward()  # type: ignore[no-untyped-call]
        if ranks > 1:
            average(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()

    def features(self, lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor, Tensor]:
        """Return all image tokens, (tiles, tokens, width), what their notes make them, and the loss between."""
        tiles = torch.cat([torch.from_numpy(item.tiles) for item in lessons]).to(self.device)
        wanted = torch.zeros(len(tiles), CELLS * CELLS, len(self.labels), device=self.device)
        first = 0
        for item in lessons:
            for tile, cell, label in item.notes:
                if label in self.labels:  # a very rare one may be unknown
                    wanted[first + tile, cell, self.labels[label]] = 1
            first += len(item.tiles)
        found = self.network._encode(normalise(tiles, torch.float32))
        codes = functional.normalize(self.codes, dim=1)
        logits = SHARPNESS * ((found @ codes.T).float() - CODE / 2)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        return found, CODE * (wanted @ codes), loss / (len(tiles) * CELLS)

    def answers(self, batch: Batch, features: Tensor) -> Tensor:
        """Return the logits of the answers' tokens, (tokens, vocabulary)."""
        embeds = self.network.language_model.get_input_embeddings()(batch.ids)
        places = batch.ids == self.context_id
        flat = features.flatten(0, 1).to(embeds.dtype)
        embeds = embeds.masked_scatter(places[..., None], flat)
        hidden = self.network.language_model.model(
            inputs_embeds=embeds, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
        ).last_hidden_state
        logits: Tensor = self.network.language_model.lm_head(hidden[batch.weights > 0]).float()
        return logits

    def loss(self, lessons: Sequence[Lesson], told: bool, log: dict[str, list[float]]) -> Tensor:
        """Return the loss of a batch and note the share of right answer tokens by course."""
        with torch.autocast(self.device.type, torch.bfloat16):
            seen, codes, notes = self.features(lessons)
            log["notes"].append(float(notes.detach()))
            batch = collate([pack(item, self.tokenizer) for item in lessons], self.device)
            logits = self.answers(batch, codes + 0.2 * torch.randn_like(codes) if told else seen)
        asked = batch.weights > 0
        targets, weights = batch.targets[asked], batch.weights[asked]
        losses = functional.cross_entropy(logits, targets, reduction="none")
        right, rows = logits.detach().argmax(-1) == targets, asked.nonzero()[:, 0]
        for row, item in enumerate(lessons):
            log[item.task + (" told" if told else "")].append(float(right[rows == row].float().mean()))
        log["answers told" if told else "answers"].append(float(losses.detach().mean()))
        return (losses * weights).sum() / ANSWERS + NOTES_WEIGHT * notes


def rate(step: int, steps: int) -> float:
    """Return the learning rate of a step (the first is 1): warm-up, then a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, step / WARMUP_STEPS) * (LAST_RATE + (PEAK_RATE - LAST_RATE) * cosine)


def known_labels(count: int = 500) -> list[str]:
    """Return every label that lessons note down."""
    asked, rng = recipes(), Random(f"{SEED} labels")
    drawn = (lesson(course, asked[course.task], rng) for course in COURSES for _ in range(count))
    return sorted({note.label for item in drawn for note in item.notes})


def corpus(count: int = 150) -> Iterator[str]:
    """Yield texts that the tokenizer is learnt from."""
    asked, rng = recipes(), Random(f"{SEED} texts")
    for course in COURSES:
        for _ in range(count):
            for prompt, answer in lesson(course, asked[course.task], rng).turns:
                yield f"{prompt}{answer}"


def average(parameters: Sequence[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the ranks."""
    found = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in found])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(found, torch.split(flat, [gradient.numel() for gradient in found]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def train(out: Path, steps: int, device: torch.device, rank: int, ranks: int) -> None:
    """Train and write the checkpoint (rank 0 writes)."""
    if rank == 0:
        write_untrained(out, corpus())
    if ranks > 1:
        distributed.barrier()
    trainer = Trainer(out, known_labels(), device)
    log, curve, started = defaultdict[str, list[float]](list), [], time.monotonic()
    source = islice(drawings(rank), steps)
    bar = tqdm(enumerate(source, 1), total=steps, disable=rank > 0, mininterval=5)
    for step, lessons in bar:
        told = (TOLD[1] - step / steps) / (TOLD[1] - TOLD[0])
        trainer.step(lessons, rate(step, steps), told, log, ranks)
        if rank == 0 and (step % 100 == 0 or step == steps):
            curve.append({"step": step, "minutes": round((time.monotonic() - started) / 60, 2), **means(log)})
            bar.write(json.dumps(curve[-1]))
            log.clear()
        if rank == 0 and (step % 500 == 0 or step == steps):
            export(trainer.network, out)
    if rank == 0:
        write_record(out, curve, ranks, device)


def means(log: dict[str, list[float]]) -> dict[str, float]:
    """Return the mean of each logged value."""
    return {name: round(sum(values) / len(values), 4) for name, values in log.items()}


def write_record(out: Path, curve: Sequence[dict[str, float]], ranks: int, device: torch.device) -> None:
    """Write the loss curve and how the checkpoint came about."""
    columns = list(dict.fromkeys(name for line in curve for name in line))
    with (out / "loss.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(curve)
    steps = int(curve[-1]["step"])
    record = {
        "steps": steps,
        "minutes": curve[-1]["minutes"],
        "ranks": ranks,
        "device": str(device),
        "torch": torch.__version__,
        "seed": SEED,
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder of the new checkpoint")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_flush_denormal(True)  # confident cells have gradients so small that CPUs are many times slower on them
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    torch.manual_seed(rank)
    if ranks > 1:
        torch.set_num_threads(1)
        distributed.init_process_group("gloo")
    train(args.out, args.steps, torch.device(args.device), rank, ranks)
    if ranks > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
