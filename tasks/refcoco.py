"""RefCOCO, RefCOCO+ and RefCOCOg grounding: Precision@1, a box with IoU of at least 0.5.

Official data: ``data/refcoco/<split>.jsonl`` (Qwen-VL conversions; UNC splits, UMD for g), COCO train2014 images
(protocol sheet 8). The official script keeps inverted boxes and reads numbers that sum to less than 4 as fractions;
``fixed`` orders the corners and reads fractions only if decimals are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from evalkit.data.hub import HubSource, write_refcoco
from evalkit.data.readers import read_jsonl
from evalkit.data.root import DataRoot
from evalkit.metrics.boxes import THRESHOLD, fixed_box, iou, official_box, parse_box
from evalkit.records import Media, Sample, Score
from evalkit.task import Task


def load(root: DataRoot, *, file: str) -> list[Sample]:
    """Read one split."""
    return [
        Sample(
            id=str(row.line), question=row.text("sent"), media=(Media(row.text("image")),),
            references=(row.box("bbox"),), group=row.text("image"),
            fields={"width": row.length("width"), "height": row.length("height")},
        )
        for row in read_jsonl(root.resolve(file), file)
    ]  # fmt: skip


def score(sample: Sample, answer: str) -> Score:
    """Score the first box of the answer."""
    parsed = parse_box(answer)
    size = sample.fields["width"], sample.fields["height"]
    hits = [float(iou(box(parsed, *size), sample.references[0]) >= THRESHOLD) for box in (official_box, fixed_box)]
    return Score(hits[0], ", ".join(part.strip() for part in parsed.texts) if parsed else None, hits[1])


def task(name: str, expected_n: int, hub: tuple[str, str] | None = None) -> Task:
    """Return the task of one split; ``hub`` is (repository, split) of the copy that holds the same objects."""
    file = f"data/refcoco/{name}.jsonl"

    def write(rows: Iterable[Mapping[str, Any]], root: DataRoot) -> int:
        return write_refcoco(rows, root, file=file)

    return Task(
        name=name, metric="precision_at_1_iou_0.5", expected_n=expected_n, files=(file,), load=partial(load, file=file),
        score=score, defects=("inverted boxes", "fractions by the sum of the numbers"),
        hub=HubSource(repo=hub[0], split=hub[1], write=write) if hub else None,
        get="jsonl as in the InternVL evaluation guide (refcoco) and the COCO train2014 images",
    )  # fmt: skip


# The Hub's RefCOCO val and test and RefCOCOg val mix in the Google splits: they do not hold the same samples.
TASKS = (
    task("refcoco_val", 10834),
    task("refcoco_testA", 5657, ("lmms-lab/RefCOCO", "testA")),
    task("refcoco_testB", 5095, ("lmms-lab/RefCOCO", "testB")),
    task("refcoco+_val", 10758, ("lmms-lab/RefCOCOplus", "val")),
    task("refcoco+_testA", 5726, ("lmms-lab/RefCOCOplus", "testA")),
    task("refcoco+_testB", 4889, ("lmms-lab/RefCOCOplus", "testB")),
    task("refcocog_val", 4896),
    task("refcocog_test", 9602, ("lmms-lab/RefCOCOg", "test")),
)
