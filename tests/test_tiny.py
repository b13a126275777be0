"""The training of the demo's tiny model: lessons, packing, and a few steps of it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from evalkit.demo.drawing import draw_shape, paper
from evalkit.demo.layout import CHECKPOINT
from evalkit.models import load_model
from scripts import train_tiny
from scripts.tiny.lessons import COURSES, TILE, Course, _notes, lesson, recipes

COURSE = {course.task: course for course in COURSES}


def test_notes_lie_in_the_cell_that_shows_them() -> None:
    image = paper((2 * TILE, 2 * TILE))
    draw_shape(image, "star", (214, 40, 40), (TILE + 30, 2, TILE + 50, 22))  # upper right tile, first row of cells
    notes = {(note.label, note.tile): note.cell for note in _notes(image, 6, 0)}
    assert notes["star", 1] == 1 and notes["star", 4] == 2  # second cell of that tile, third of the thumbnail
    assert notes["(214, 40, 40)", 1] == 1
    edges = [key for key in notes if key[0].startswith("edge ")]
    assert sorted(edges) == [("edge 0 15", 4), ("edge 1 0", 4), ("edge 2 17", 4), ("edge 3 2", 4)]


@pytest.mark.parametrize("course", COURSES, ids=lambda course: course.task)
def test_packed_turns_are_answered_as_if_alone(course: Course) -> None:
    trainer = train_tiny.Trainer(CHECKPOINT, ["nothing"], torch.device("cpu"))
    taught = lesson(course, recipes()[course.task], Random(5))
    with torch.no_grad():
        features, _, _ = trainer.features([taught])

        def logits(turns: list[tuple[str, str]]) -> torch.Tensor:
            rows = [train_tiny.pack(replace(taught, turns=turns), trainer.tokenizer)]
            return trainer.answers(train_tiny.collate(rows, trainer.device), features)

        together = logits(taught.turns)
        alone = torch.cat([logits([turn]) for turn in taught.turns])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_weights_follow_the_answers() -> None:
    tokenizer = load_model(str(CHECKPOINT)).tokenizer
    taught = lesson(COURSE["refcoco_val"], recipes()["refcoco_val"], Random(5))
    row = train_tiny.pack(taught, tokenizer)
    answers = [tokenizer.encode(answer + "<|im_end|>") for _, answer in taught.turns]
    weighted = [target for target, weight in zip(row.targets, row.weights, strict=True) if weight]
    assert weighted == [token for answer in answers for token in answer]
    assert sum(row.weights) == pytest.approx(sum(len(answer) ** 0.5 for answer in answers))


def test_a_few_steps_write_a_checkpoint_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = list(train_tiny.corpus(6)), train_tiny.known_labels(6)
    monkeypatch.setattr(train_tiny, "corpus", lambda: texts)
    monkeypatch.setattr(train_tiny, "known_labels", lambda: labels)
    out = tmp_path / "tiny"
    train_tiny.train(out, 2, torch.device("cpu"), 0, 1)
    model = load_model(str(out))
    tensors = load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert model.config.tile_size == TILE
    rows = list(csv.DictReader((out / "loss.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[-1]["step"] == "2" and float(rows[-1]["answers"]) > 0 and float(rows[-1]["notes"]) > 0
    record = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert record["steps"] == 2


def test_the_rate_warms_up_and_falls() -> None:
    rates = [train_tiny.rate(step, 1000) for step in range(1, 1001)]
    assert rates.index(max(rates)) == train_tiny.WARMUP_STEPS - 1
    assert rates[-1] == pytest.approx(train_tiny.LAST_RATE) and rates[0] < rates[50] < max(rates)
