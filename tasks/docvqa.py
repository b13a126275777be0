"""DocVQA, validation and test: questions on scanned pages, scored by ANLS.

Official data: ``data/docvqa/{val,test}.jsonl`` (Qwen-VL conversions), page images next to them, gold answers of val in
``val_v1.0.json`` (protocol sheet 6.1). Test answers are hidden: they are scored by the RRC server. The official val
scorer divides by the raw string length; ``fixed`` divides by the length of the compared strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.data.hub import HubSource, write_vqa
from evalkit.data.readers import gold_by_id, read_records, vqa_samples
from evalkit.data.root import DataRoot
from evalkit.data.submission import write_json_records
from evalkit.errors import UsageError
from evalkit.metrics.anls import anls
from evalkit.records import Sample, Score
from evalkit.task import Task

LABELS = "data/docvqa/val/val_v1.0.json"
GET = "annotations and images as in the InternVL evaluation guide (docvqa), or `evalkit data fetch`"


def load_val(root: DataRoot) -> list[Sample]:
    """Read the validation questions with the gold answers of the official label file."""
    labels = gold_by_id(
        read_records(root.resolve(LABELS), LABELS, "data"), "questionId", lambda row: row.texts("answers")
    )
    return vqa_samples(root, "data/docvqa/val.jsonl", labels)


def load_test(root: DataRoot) -> list[Sample]:
    """Read the test questions; they have no gold answers."""
    return vqa_samples(root, "data/docvqa/test.jsonl")


def score(sample: Sample, answer: str) -> Score:
    """Score by ANLS."""
    fixed = anls(answer, sample.references, raw_length=False)
    return Score(anls(answer, sample.references), answer.strip() or None, fixed)


def write(rows: Iterable[Mapping[str, Any]], root: DataRoot, *, split: str, labels: str | None) -> int:
    """Write the Hub's rows (questionId, question, image, answers, ucsf_document_*) in the official layout."""
    images = f"data/docvqa/{split}/documents/{{ucsf_document_id}}_{{ucsf_document_page_no}}.png"
    gold = (labels, "data", gold_of) if labels else None
    return write_vqa(
        rows, root, file=f"data/docvqa/{split}.jsonl", images=images, question_id="questionId",
        answer="answers" if labels else None, gold=gold,
    )  # fmt: skip


def gold_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Hub row's entry of the label file."""
    return {"questionId": int(row["questionId"]), "question": row["question"], "answers": list(row["answers"])}


def hub(split: str, name: str, labels: str | None) -> HubSource:
    """Describe the Hub's copy."""
    return HubSource(
        repo="lmms-lab/DocVQA", config="DocVQA", split=split, write=partial(write, split=name, labels=labels)
    )


def submit(root: DataRoot, responses: Mapping[str, str], path: Path) -> None:
    """Write the JSON that the RRC server accepts for task 1 (rrc.cvc.uab.es, ch=17)."""
    foreign = [key for key in responses if not (key.isascii() and key.isdecimal())]
    if foreign:
        raise UsageError(f"data/docvqa/test.jsonl: the server only accepts numeric question ids, not {foreign[0]!r}")
    write_json_records(path, ({"questionId": int(key), "answer": answer} for key, answer in responses.items()))


TASKS = (
    Task(
        name="docvqa_val", metric="anls", expected_n=5349, files=("data/docvqa/val.jsonl", LABELS),
        load=load_val, score=score, defects=("raw string length",),
        hub=hub("validation", "val", LABELS), get=GET,
    ),
    Task(
        name="docvqa_test", metric="anls", expected_n=5188, files=("data/docvqa/test.jsonl",),
        load=load_test, score=score, labelled=False, submit=submit,
        hub=hub("test", "test", None), get=GET,
    ),
)  # fmt: skip
