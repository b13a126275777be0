"""Fetches a task's samples from the Hub through ``datasets`` and writes them in the official layout."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.data.root import DataRoot
from evalkit.errors import UsageError, first_line
from evalkit.files import write_atomically

Gold = tuple[str, str, Callable[[Mapping[str, Any]], dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A task's samples on the Hugging Face Hub.

    Attributes:
        repo: dataset repository.
        config: configuration name, or None.
        split: split name.
        write: writes the rows in the official layout under a data root; returns how many it wrote.
    """

    repo: str
    split: str
    write: Callable[[Iterable[Mapping[str, Any]], DataRoot], int]
    config: str | None = None


def fetch(name: str, hub: HubSource, root: DataRoot, revision: str | None, source: str | None) -> dict[str, Any]:
    """Write a task's official files from its copy on the Hub.

    Args:
        name: the task's name.
        hub: its copy.
        root: the data root to write to.
        revision: commit of the dataset repository; None takes the one of an earlier fetch, or else the newest, and
            records it.
        source: a local clone of the dataset repository, instead of the Hub.

    Returns:
        What was fetched: repository, revision, rows. Also stored in ``evalkit-fetch.json`` under the data root.

    Raises:
        UsageError: the download failed.
    """
    ledger = root.base / "evalkit-fetch.json"
    fetched = json.loads(ledger.read_text(encoding="utf-8")) if ledger.exists() else {}
    revision = revision or fetched.get(name, {}).get("revision")
    try:
        if source is None and revision is None:
            from huggingface_hub import HfApi

            revision = HfApi().dataset_info(hub.repo).sha
        count = hub.write(_rows(hub, source, revision), root)
    except (UsageError, ModuleNotFoundError):  # the latter: datasets is an extra
        raise
    except Exception as error:  # the Hub clients raise their HTTP library's errors, which share no base class
        raise UsageError(f"task {name}: {source or hub.repo} cannot be fetched: {first_line(error)}") from error
    record = {"repo": source or hub.repo, "revision": revision, "rows": count}
    write_atomically(ledger, json.dumps(fetched | {name: record}, indent=1) + "\n")
    return record


def _rows(hub: HubSource, source: str | None, revision: str | None) -> Iterator[Mapping[str, Any]]:
    from datasets import Image, load_dataset

    rows = load_dataset(source or hub.repo, hub.config, split=hub.split, revision=revision, streaming=True)
    # The stored bytes are written unchanged: decoding and re-encoding would change pixels.
    yield from rows.cast_column("image", Image(decode=False))


def _save_image(row: Mapping[str, Any], path: str, root: DataRoot) -> bytes:
    content: bytes = row["image"]["bytes"]
    file = root.resolve(path)
    if not file.exists():
        write_atomically(file, content)
    return content


def _jsonl(records: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def write_vqa(
    rows: Iterable[Mapping[str, Any]],
    root: DataRoot,
    *,
    file: str,
    images: str,
    question_id: str | None = None,
    answer: str | None = None,
    gold: Gold | None = None,
) -> int:
    """Write an image question set: jsonl, images and, if the layout has one, a file of gold answers.

    Args:
        rows: the Hub's rows.
        root: the data root to write to.
        file: official path of the jsonl.
        images: official path of an image; filled in from the row, ``{image_sha1}`` is the hash of its bytes.
        question_id: key of the id, or None if the official file has none.
        answer: key of the answer, or None.
        gold: (official path, its list's key, record of a row) of the gold answers' file.

    Returns:
        Number of questions.
    """
    lines = []
    golds = []
    for row in rows:
        digest = hashlib.sha1(row["image"]["bytes"]).hexdigest()
        path = images.format(**{key: value for key, value in row.items() if key != "image"}, image_sha1=digest)
        _save_image(row, path, root)
        line: dict[str, Any] = {"image": path, "question": row["question"]}
        if question_id is not None:
            line["question_id"] = int(row[question_id])
        if answer is not None:
            line["answer"] = row[answer]
        lines.append(line)
        if gold is not None:
            golds.append(gold[2](row))
    if gold is not None:
        write_atomically(root.resolve(gold[0]), json.dumps({gold[1]: golds}, ensure_ascii=False))
    write_atomically(root.resolve(file), _jsonl(lines))
    return len(lines)


def write_tsv(rows: Iterable[Mapping[str, Any]], root: DataRoot, *, file: str) -> int:
    """Write an MMBench table: the rows' columns, images as base64."""
    text = io.StringIO()
    writer: Any = None
    count = 0
    for row in rows:
        cells = {key: "" if value is None else value for key, value in row.items()}
        cells["image"] = base64.b64encode(row["image"]["bytes"]).decode()
        if writer is None:
            writer = csv.DictWriter(text, list(cells), delimiter="\t", lineterminator="\n")
            writer.writeheader()
        writer.writerow(cells)
        count += 1
    write_atomically(root.resolve(file), text.getvalue())
    return count


def write_refcoco(rows: Iterable[Mapping[str, Any]], root: DataRoot, *, file: str) -> int:
    """Write a grounding split: one line per expression of a row's ``answer``, boxes xywh -> xyxy."""
    from PIL import Image

    lines = []
    for row in rows:
        name = re.match(r"COCO_train2014_\d{12}", row["file_name"])
        if name is None:
            raise UsageError(f"{file}: file_name {row['file_name']!r} is not a COCO train2014 image")
        path = f"data/coco/train2014/{name[0]}.jpg"
        with Image.open(io.BytesIO(_save_image(row, path, root))) as image:
            width, height = image.size
        x, y, w, h = row["bbox"]
        box = [x, y, x + w, y + h]
        lines += [
            {"image": path, "sent": sent, "bbox": box, "height": height, "width": width} for sent in row["answer"]
        ]
    write_atomically(root.resolve(file), _jsonl(lines))
    return len(lines)
