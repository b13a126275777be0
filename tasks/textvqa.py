"""TextVQA validation, scored by VQA accuracy against ten human answers, without OCR tokens.

Official data: ``data/textvqa/textvqa_val.jsonl`` and ``textvqa_val_annotations.json``, images in ``train_images/``
(protocol sheet 6.4). The official normaliser removes at most 32 periods, also after a digit; ``fixed`` has the
intended rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalkit.data.hub import HubSource, write_vqa
from evalkit.data.readers import Record, as_record, gold_by_id, read_records, vqa_samples
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.metrics.vqa import ANSWERS, normalise, vqa_accuracy
from evalkit.records import Sample, Score
from evalkit.task import Task

QUESTIONS = "data/textvqa/textvqa_val.jsonl"
ANNOTATIONS = "data/textvqa/textvqa_val_annotations.json"


def load(root: DataRoot) -> list[Sample]:
    """Read the questions and their ten answers each."""
    rows = read_records(root.resolve(ANNOTATIONS), ANNOTATIONS, "annotations")
    return vqa_samples(root, QUESTIONS, gold_by_id(rows, "question_id", ten_answers))


def ten_answers(row: Record) -> tuple[str, ...]:
    """Return the human answers of one annotation."""
    given = row.data.get("answers")
    answers = given if isinstance(given, list) else []
    if len(answers) != ANSWERS:
        raise UsageError(f"{row.where}: 'answers' must list {ANSWERS} answers, got {len(answers)}")
    return tuple(as_record(answer, f"{row.where}: an answer", row.line).text("answer") for answer in answers)


def score(sample: Sample, answer: str) -> Score:
    """Score by VQA accuracy."""
    fixed = vqa_accuracy(answer, sample.references, official_periods=False)
    return Score(vqa_accuracy(answer, sample.references), normalise(answer) if answer.strip() else None, fixed)


def write(rows: Iterable[Mapping[str, Any]], root: DataRoot) -> int:
    """Write the Hub's rows (question_id, image_id, question, image, answers) in the official layout."""
    return write_vqa(
        rows, root, file=QUESTIONS, images="data/textvqa/train_images/{image_id}.jpg",
        question_id="question_id", gold=(ANNOTATIONS, "annotations", gold_of),
    )  # fmt: skip


def gold_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Hub row's entry of the annotation file."""
    answers = [{"answer": answer} for answer in row["answers"]]
    return {"question_id": int(row["question_id"]), "image_id": row["image_id"], "answers": answers}


TASKS = (
    Task(
        name="textvqa_val", metric="vqa_accuracy", expected_n=5000, files=(QUESTIONS, ANNOTATIONS),
        load=load, score=score, defects=("period rule of the normaliser",),
        hub=HubSource(repo="lmms-lab/textvqa", split="validation", write=write),
        get="annotations and train images as in the InternVL evaluation guide (textvqa), or `evalkit data fetch`",
    ),
)  # fmt: skip
