"""ChartQA test, human and augmented halves, scored by relaxed accuracy.

Official data: ``data/chartqa/test_{human,augmented}.jsonl`` and ``ChartQA Dataset/test/png`` (protocol sheet 6.2). The
official script swaps the arguments: the tolerance is 5 % of the *model's* number and only the model's answer is
stripped; ``fixed`` measures against the gold number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from evalkit.data.hub import HubSource, write_vqa
from evalkit.data.readers import vqa_samples
from evalkit.data.root import DataRoot
from evalkit.metrics.relaxed import relaxed_match
from evalkit.records import Sample, Score
from evalkit.task import Task


def load(root: DataRoot, *, half: str) -> list[Sample]:
    """Read one half of the test split."""
    return vqa_samples(root, f"data/chartqa/test_{half}.jsonl")


def score(sample: Sample, answer: str) -> Score:
    """Score by relaxed accuracy, the best of the references."""
    answer = answer.strip()
    official = any(relaxed_match(target=answer, prediction=gold) for gold in sample.references)
    fixed = any(relaxed_match(target=gold.strip(), prediction=answer) for gold in sample.references)
    return Score(float(official), answer or None, float(fixed))


def task(half: str) -> Task:
    """Return the task of one half."""
    file = f"data/chartqa/test_{half}.jsonl"

    def write(rows: Iterable[Mapping[str, Any]], root: DataRoot) -> int:
        kept = (row for row in rows if row["type"] == f"{half}_test")
        return write_vqa(
            kept, root, file=file, images="data/chartqa/ChartQA Dataset/test/png/{image_sha1}.png", answer="answer"
        )

    return Task(
        name=f"chartqa_test_{half}", metric="relaxed_accuracy", expected_n=1250, files=(file,),
        load=partial(load, half=half), score=score, defects=("swapped arguments",),
        hub=HubSource(repo="lmms-lab/ChartQA", split="test", write=write),
        get="annotations and images as in the InternVL evaluation guide (chartqa), or `evalkit data fetch`",
    )  # fmt: skip


TASKS = (task("human"), task("augmented"))
