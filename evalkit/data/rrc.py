"""The question sets of the Robust Reading Competition (rrc.cvc.uab.es): DocVQA and InfographicVQA.

Both have a jsonl of questions, a file of gold answers for val, a server that scores test, and a copy in one repository
of the Hub (protocol sheet 6.1, 6.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.data.hub import HubSource, write_vqa
from evalkit.data.readers import gold_by_id, read_records, vqa_samples
from evalkit.data.root import DataRoot
from evalkit.data.submission import write_json
from evalkit.errors import UsageError
from evalkit.records import Sample


def labelled_samples(root: DataRoot, *, file: str, labels: str) -> list[Sample]:
    """Read questions with the gold answers of a label file.

    Args:
        root: the data root.
        file: official path of the questions.
        labels: official path of the label file.
    """
    rows = read_records(root.resolve(labels), labels, "data")
    return vqa_samples(root, file, gold_by_id(rows, "questionId", lambda row: row.texts("answers")))


def submit(root: DataRoot, responses: Mapping[str, str], path: Path, *, file: str) -> None:
    """Write the two keys of each answer that the server accepts; ``file`` has the questions."""
    foreign = [key for key in responses if not (key.isascii() and key.isdecimal())]
    if foreign:
        raise UsageError(f"{file}: the server only accepts numeric question ids, not {foreign[0]!r}")
    write_json(path, [{"questionId": int(key), "answer": answer} for key, answer in responses.items()])


def hub_source(config: str, split: str, *, file: str, images: str, labels: str | None = None) -> HubSource:
    """Describe the Hub's copy of one split.

    Args:
        config: configuration name.
        split: split name.
        file: official path of the questions.
        images: official path of an image, filled in from the row (see ``write_vqa``).
        labels: official path of the label file; None for a split with hidden answers.
    """
    write = partial(_write, file=file, images=images, labels=labels)
    return HubSource(repo="lmms-lab/DocVQA", config=config, split=split, write=write)


def _write(rows: Iterable[Mapping[str, Any]], root: DataRoot, *, file: str, images: str, labels: str | None) -> int:
    gold = (labels, "data", _gold_of) if labels else None
    answer = "answers" if labels else None
    return write_vqa(rows, root, file=file, images=images, question_id="questionId", answer=answer, gold=gold)


def _gold_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"questionId": int(row["questionId"]), "question": row["question"], "answers": list(row["answers"])}
