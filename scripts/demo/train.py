"""Trains the demo's tiny InternVL2 on freshly drawn lessons.

    torchrun --nproc-per-node 2 -m scripts.demo.train --out tiny

The model has the official config keys, tensor names, prompt format and tiling, and is loaded by the loader that real
checkpoints use. Every image token has notes of what its cell shows, and each kind of note a code, a vector. At first
the language model alone learns to find words in texts and codes; then the vision encoder learns to emit the codes, and
the language model to answer from them; then, batch by batch, the language model switches to the vision encoder's
output. No lesson is seen twice, so the printed loss is that of unseen data. Writes the checkpoint (half
precision), ``loss.csv`` and ``training.json``. Every rank draws its own lessons; one thread and one core per rank is
faster than many threads, and ``python -m scripts.demo.train`` alone is one rank.
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
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from tqdm import tqdm

from evalkit.models.internvl2.config import read_config
from evalkit.models.internvl2.network import InternVL2, load_network, normalise
from evalkit.models.internvl2.prompt import CONTEXT, END, encode_prompt
from evalkit.models.internvl2.tokenizer import ChatTokenizer
from scripts.demo.drawing import EDGE
from scripts.demo.tiny.dense import GIVEN, seen_lesson, text_lesson, told_lesson
from scripts.demo.tiny.first_values import note_vector
from scripts.demo.tiny.layout import export, write_untrained
from scripts.demo.tiny.lessons import COURSES, lesson, recipes
from scripts.demo.tiny.records import CELL, CELLS, Lesson

SEED = "evalkit tiny model"  # the demo's own data are drawn with other seeds
STEPS = 5200
WORDS = 0.27  # share of the steps, the first, without pictures
PEAK_RATE, LAST_RATE = 1.1e-3, 3e-5
WARMUP_STEPS = 150
TOLD = (0.5, 0.62)  # share of the steps until which the language model is told what the pictures show, and sees all
CODE, FAINT = 4.0, 0.4  # length of a code, as that of the embeddings; of the codes of edges and cells as a part of it
NOTHING = "nothing"  # label of an empty cell
SHARPNESS = 3.0  # of telling what a cell shows
NOTES_WEIGHT = 1.0  # of the vision encoder's own loss beside the answers'
BATCHES = (10, 5, 4, 3)  # how often each kind of batch is drawn; the last kind is words
LOOKED_UP = 0  # kind of batch that every second one is in the later half of the first steps, told and not seen
WORD_LESSONS = ((text_lesson, 3), (told_lesson, 3), (seen_lesson, 6))  # in a batch of words
ANSWERS = 20.0  # about the summed weight of the answers of a step
TOKENS_WEIGHT = 0.7  # an answer's weight is the number of its tokens to the power of 1 - this


class Row(NamedTuple):
    """A lesson as one sequence: the shared prefix, then each question with its answer.

    Attributes:
        ids: all tokens.
        targets: the token to come.
        weights: of the targets: those of an answer share a power of their number; others 0.
        blocks: 0 in the prefix, else the 1-based number of the turn.
        positions: as if the turn stood alone behind the prefix.
    """

    ids: list[int]
    targets: list[int]
    weights: list[float]
    blocks: list[int]
    positions: list[int]


def drawings(rank: int, steps: int) -> Iterator[list[Lesson]]:
    """Yield a batch per step; those of a step are of one kind on all ranks, so that no rank waits."""
    asked = recipes()
    kinds, rng = Random(f"{SEED} kinds"), Random(f"{SEED} {rank}")
    words = len(BATCHES) - 1
    for step in range(steps):
        drawn = step >= WORDS * steps
        kind = kinds.choices(range(len(BATCHES)), BATCHES)[0] if drawn else words
        if not drawn and step > WORDS / 2 * steps and step % 2:
            kind = LOOKED_UP
        if kind == words:
            yield [draw(rng) for draw, count in WORD_LESSONS for _ in range(count)]
            continue
        taught = [course for course in COURSES if course.batch == kind]
        lessons = [lesson(course, asked[course.task], rng) for course in taught for _ in range(course.share)]
        yield [replace(item, drawn=drawn) for item in lessons]


def pack(item: Lesson, tokenizer: ChatTokenizer) -> Row:
    """Lay a lesson's turns behind their common prefix."""
    turns = [
        (encode_prompt(tokenizer, prompt, item.images, CELLS * CELLS), encode_answer(tokenizer, answer))
        for prompt, answer in item.turns
    ]
    shortest = min(len(prompt) for prompt, _ in turns) - 1
    shared = next((i for i in range(shortest) if len({prompt[i] for prompt, _ in turns}) > 1), shortest)
    row = Row(turns[0][0][:shared], [0] * shared, [0.0] * shared, [0] * shared, list(range(shared)))
    for number, (prompt, answer) in enumerate(turns, 1):
        tokens = [token for token, _ in answer]
        learnt = sum(flag for _, flag in answer)
        turn = prompt[shared:] + tokens[:-1]
        asked = len(turn) - len(tokens)
        row.ids.extend(turn)
        row.targets.extend([0] * asked + tokens)
        row.weights.extend([0.0] * asked + [flag * learnt**-TOKENS_WEIGHT for _, flag in answer])
        row.blocks.extend([number] * len(turn))
        row.positions.extend(range(shared, shared + len(turn)))
    return row


def encode_answer(tokenizer: ChatTokenizer, answer: str) -> list[tuple[int, bool]]:
    """Return an answer's tokens, the end too, and whether each is learnt."""
    parts = (answer + END).split(GIVEN)
    return [(token, place % 2 == 0) for place, part in enumerate(parts) for token in tokenizer.encode(part)]


class Batch(NamedTuple):
    """Rows padded on the right, (rows, length) each; ``mask`` is 0 where a token may look, else hugely negative."""

    ids: Tensor
    targets: Tensor
    weights: Tensor
    blocks: Tensor
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
    return Batch(padded("ids", 0), padded("targets", 0), padded("weights", 0.0), blocks, padded("positions", 0), hidden)


class Trainer:
    """The network, a head that only training needs, and one step of it."""

    def __init__(self, folder: Path, labels: Sequence[str], device: torch.device) -> None:
        config = read_config(folder)
        self.device = device
        self.tokenizer = ChatTokenizer(folder)
        self.context_id = self.tokenizer.convert_tokens_to_ids(CONTEXT)
        self.network: InternVL2 = load_network(folder, config, device, torch.float32, "eager")  # the faster one here
        self.network.train().requires_grad_(True)
        self.labels = {label: place for place, label in enumerate([*labels, NOTHING])}
        width = config.llm_config.hidden_size
        vectors = [note_vector(label, width) for label in self.labels]
        self.codes = nn.Parameter(torch.from_numpy(np.stack(vectors)).to(device))
        lengths = [FAINT if label.startswith((EDGE, CELL)) else 1.0 for label in self.labels]
        self.lengths = torch.tensor(lengths, device=device)
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
        """Return all image tokens, (tiles, tokens, width), what their notes make them, and the loss between.

        Of pictures that are not drawn, the image tokens are what the notes make them.
        """
        wanted = self.wanted(lessons)
        codes = functional.normalize(self.codes, dim=1)
        told = CODE * (wanted @ (self.lengths[:, None] * codes))
        if not all(item.drawn for item in lessons):
            return told, told, torch.zeros((), device=self.device)
        tiles = torch.cat([torch.from_numpy(item.tiles) for item in lessons]).to(self.device)
        found = self.network._encode(normalise(tiles, torch.float32))
        logits = SHARPNESS * ((found @ codes.T).float() / self.lengths - CODE / 2)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        return found, told, loss / (len(tiles) * CELLS)

    def wanted(self, lessons: Sequence[Lesson]) -> Tensor:
        """Return which labels each image token has, 0 or 1: (tiles, tokens, labels)."""
        tiles = sum(len(item.tiles) for item in lessons)
        wanted = torch.zeros(tiles, CELLS * CELLS, len(self.labels), device=self.device)
        first = 0
        for item in lessons:
            for tile, cell, label in item.notes:
                if label in self.labels:  # a very rare one may be unknown
                    wanted[first + tile, cell, self.labels[label]] = 1
            first += len(item.tiles)
        wanted[..., self.labels[NOTHING]] = (wanted.sum(-1) == 0).float()
        return wanted

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
        """Return the loss of a batch and note the share of answers that are right in every token by course."""
        with torch.autocast(self.device.type, torch.bfloat16):
            seen, codes, notes = self.features(lessons)
            if lessons[0].drawn:
                log["notes"].append(float(notes.detach()))
            batch = collate([pack(item, self.tokenizer) for item in lessons], self.device)
            logits = self.answers(batch, codes + 0.2 * torch.randn_like(codes) if told else seen)
        asked = batch.weights > 0
        targets, weights = batch.targets[asked], batch.weights[asked]
        losses = functional.cross_entropy(logits, targets, reduction="none")
        wrong = torch.zeros_like(batch.ids, dtype=torch.bool)
        wrong[asked] = logits.detach().argmax(-1) != targets
        for item, blocks, flags in zip(lessons, batch.blocks, wrong, strict=True):
            for turn in range(1, item.asked + 1):
                name = item.task + (" letters" if GIVEN in item.turns[turn - 1][1] else "")
                log[name + (" told" if told else "")].append(float(not flags[blocks == turn].any()))
        name = ("answers told" if told else "answers") if lessons[0].drawn else "words"
        log[name].append(float(losses.detach().mean()))
        return (losses * weights).sum() / ANSWERS + NOTES_WEIGHT * notes


def rate(step: int, steps: int) -> float:
    """Return the learning rate of a step (the first is 1): warm-up, then a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, step / WARMUP_STEPS) * (LAST_RATE + (PEAK_RATE - LAST_RATE) * cosine)


def known_labels(count: int = 500) -> list[str]:
    """Return every label that lessons note down."""
    asked, rng = recipes(), Random(f"{SEED} labels")
    drawn = [lesson(course, asked[course.task], rng) for course in COURSES for _ in range(count)]
    told = [draw(rng) for draw in (told_lesson, seen_lesson) for _ in range(count)]
    return sorted({note.label for item in (*drawn, *told) for note in item.notes})


def corpus(count: int = 150) -> Iterator[str]:
    """Yield texts that the tokenizer is learnt from."""
    asked, rng = recipes(), Random(f"{SEED} texts")
    for course in COURSES:
        for _ in range(count):
            for prompt, answer in lesson(course, asked[course.task], rng).turns:
                yield f"{prompt}{answer}".replace(GIVEN, "")


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
    bar = tqdm(enumerate(drawings(rank, steps), 1), total=steps, disable=rank > 0, mininterval=5)
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
