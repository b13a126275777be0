"""The training of the demo's tiny model: lessons, packing, and a few steps of it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from evalkit.demo import CHECKPOINT
from evalkit.models import load_model
from scripts.demo import train as training
from scripts.demo.drawing import draw_shape, paper
from scripts.demo.tiny.dense import GIVEN, SHOWN, _labels, seen_lesson, text_lesson, told_lesson
from scripts.demo.tiny.lessons import COURSES, Course, _notes, lesson, recipes
from scripts.demo.tiny.records import TILE, Lesson

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
    trainer = training.Trainer(CHECKPOINT, [], torch.device("cpu"))
    taught = lesson(course, recipes()[course.task], Random(5))
    with torch.no_grad():
        features, _, _ = trainer.features([taught])

        def logits(turns: list[tuple[str, str]]) -> torch.Tensor:
            rows = [training.pack(replace(taught, turns=turns), trainer.tokenizer)]
            return trainer.answers(training.collate(rows, trainer.device), features)

        together = logits(taught.turns)
        alone = torch.cat([logits([turn]) for turn in taught.turns])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_weights_follow_the_answers() -> None:
    tokenizer = load_model(str(CHECKPOINT)).tokenizer
    taught = lesson(COURSE["refcoco_val"], recipes()["refcoco_val"], Random(5))
    row = training.pack(taught, tokenizer)
    answers = [training.encode_answer(tokenizer, answer) for _, answer in taught.turns]
    learnt = [[token for token, flag in answer if flag] for answer in answers]
    weighted = [target for target, weight in zip(row.targets, row.weights, strict=True) if weight]
    assert weighted == [token for answer in learnt for token in answer]
    assert sum(row.weights) == pytest.approx(sum(len(answer) ** 0.3 for answer in learnt))


def test_what_nobody_could_know_is_not_learnt() -> None:
    tokenizer = load_model(str(CHECKPOINT)).tokenizer
    found = training.encode_answer(tokenizer, f"{GIVEN}circle:{GIVEN} red")
    assert "".join(tokenizer.decode([token]) for token, flag in found if flag) == " red<|im_end|>"
    assert tokenizer.decode([token for token, flag in found if not flag]) == "circle:"


@pytest.mark.parametrize("draw", [text_lesson, told_lesson, seen_lesson])
def test_lessons_in_words_can_be_answered_from_what_they_tell(draw: Callable[[Random], Lesson]) -> None:
    """Every learnt word stands in the prompt or in the notes; of seen options exactly one is in the notes."""
    for seed in range(40):
        taught = draw(Random(seed))
        labels = {note.label for note in taught.notes}
        for prompt, answer in taught.turns:
            if draw is seen_lesson:
                options = dict(re.findall(r"^\(?([A-D])[.)] (.*?)(?:<|$)", prompt, re.MULTILINE))
                seen = [letter for letter, option in options.items() if _label(option) in labels]
                assert len(options) == 4 and [answer.strip("()")] == seen
                continue
            for told in re.findall(f"{GIVEN}.*?:{GIVEN} (.*)", answer) or [answer]:
                assert told in prompt or set(_labels(told)) <= labels


def _label(option: str) -> str:
    return next(label for pool in SHOWN for text, label in pool if text == option)


def test_a_few_steps_write_a_checkpoint_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = list(training.corpus(6)), training.known_labels(6)
    monkeypatch.setattr(training, "corpus", lambda: texts)
    monkeypatch.setattr(training, "known_labels", lambda: labels)
    out = tmp_path / "tiny"
    training.train(out, 2, torch.device("cpu"), 0, 1)
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
    rates = [training.rate(step, 1000) for step in range(1, 1001)]
    assert rates.index(max(rates)) == training.WARMUP_STEPS - 1
    assert rates[-1] == pytest.approx(training.LAST_RATE) and rates[0] < rates[50] < max(rates)
