"""AI2D test, multiple choice on science diagrams: with the card's masked labels, and an extra task without mask.

Official data: ``data/ai2diagram/test_vlmevalkit.jsonl`` (the question holds options and instruction) and
``AI2D_TEST/`` (protocol sheet 6.8). The same questions on diagrams whose labels stay visible are in
``test_no_mask.jsonl``, this project's name: VLMEvalKit has that set, the card does not. The official script wants the
letter alone ("B." is wrong); ``fixed`` reads the answer carefully too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from evalkit.data.readers import vqa_samples
from evalkit.data.root import DataRoot
from evalkit.metrics.choice import careful_choice
from evalkit.records import Sample, Score
from evalkit.task import Task

OPTION = re.compile(r"\n([A-Z])\. ")
GET = "annotations and images as in the InternVL evaluation guide (ai2diagram)"


def load(root: DataRoot, *, file: str) -> list[Sample]:
    """Read the questions."""
    return [replace(one, fields={"options": options_of(one.question)}) for one in vqa_samples(root, file)]


def options_of(question: str) -> dict[str, str]:
    """Return the options of a question whose last line is the instruction; an option may have line breaks."""
    _, *parts = OPTION.split(question.rpartition("\n")[0])
    return dict(zip(parts[::2], parts[1::2], strict=True))


def score(sample: Sample, answer: str) -> Score:
    """Score by equality without outer blanks and case."""
    official = any(answer.strip().lower() == gold.strip().lower() for gold in sample.references)
    fixed = official or careful_choice(answer, sample.fields["options"]) in sample.references
    return Score(float(official), answer.strip() or None, float(fixed))


def task(name: str, file: str, unverified: bool = False, get: str = GET) -> Task:
    """Return the task of one file."""
    return Task(
        name=name, metric="accuracy", expected_n=3088, unverified_n=unverified, files=(file,),
        load=partial(load, file=file), score=score, defects=("only the letter alone is right",), get=get,
    )  # fmt: skip


TASKS = (
    task("ai2d_test", "data/ai2diagram/test_vlmevalkit.jsonl"),
    task(
        "ai2d_test_no_mask", "data/ai2diagram/test_no_mask.jsonl", unverified=True,
        get="the records of test_vlmevalkit.jsonl with the images of VLMEvalKit's AI2D_TEST_NO_MASK.tsv",
    ),
)  # fmt: skip
