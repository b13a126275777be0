"""POPE: does the model see objects that are not there? Yes/no questions, scored by F1, accuracy, precision and recall.

Data: ``data/pope/coco_pope_<split>.json`` as in the official repository (github.com/RUCAIBox/POPE), one object per
line: ``{"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a snowboard in the image?",
"label": "yes"}``; the images in ``data/coco/val2014/``. Predictions: ``{"id": "1", "response": "Yes"}``.

    evalkit score --plugin examples/pope.py --task pope_random --predictions F.jsonl --data-root D --out runs/pope
"""

from __future__ import annotations

import re
from functools import partial

from evalkit.data.readers import read_jsonl, unique
from evalkit.data.root import DataRoot
from evalkit.metrics.metric import f1, mean, precision, recall
from evalkit.records import Media, Recipe, Sample, Score
from evalkit.task import Task

RECIPE = Recipe(prompt="{media}{question}\nAnswer the question using a single word or phrase.", max_new_tokens=10)


def load(root: DataRoot, *, file: str) -> list[Sample]:
    """Read one split; the gold label is a key, since precision and recall need it."""
    samples = []
    for row in read_jsonl(root.resolve(file), file):
        image, label = row.text("image"), row.text("label")
        media = (Media(f"data/coco/val2014/{image}"),)
        samples.append(
            Sample(row.identity("question_id"), row.text("text"), media, (label,), group=image, keys={"label": label})
        )
    return unique(samples, file)


def score(sample: Sample, answer: str) -> Score:
    """Score as the official evaluate.py: "no" if the first sentence has the word No, no or not, else "yes"."""
    words = re.sub(",", "", answer.split(".")[0]).split(" ")
    said = "no" if {"No", "no", "not"} & set(words) else "yes"
    return Score(float(said == sample.references[0]), said if answer.strip() else None)


def task(split: str) -> Task:
    """Return the task of one split."""
    file = f"data/pope/coco_pope_{split}.json"
    return Task(
        name=f"pope_{split}", metrics=(f1(), mean("accuracy"), precision(), recall()), expected_n=3000, files=(file,),
        load=partial(load, file=file), score=score, recipe=RECIPE, get="github.com/RUCAIBox/POPE, output/coco",
    )  # fmt: skip


TASKS = tuple(map(task, ("random", "popular", "adversarial")))
