"""DocVQA, validation and test: questions on scanned pages, scored by ANLS.

Official data: ``data/docvqa/{val,test}.jsonl`` (Qwen-VL conversions), page images next to them, gold answers of val in
``val_v1.0.json`` (protocol sheet 6.1). Test answers are hidden: they are scored by the RRC server (ch=17, task 1). The
official val scorer divides by the raw string length; ``fixed`` divides by the length of the compared strings.
"""

from __future__ import annotations

from functools import partial

from evalkit.data.readers import vqa_samples
from evalkit.data.rrc import hub_source, labelled_samples, submit
from evalkit.metrics.anls import score_anls
from evalkit.task import Task

VAL = "data/docvqa/val.jsonl"
TEST = "data/docvqa/test.jsonl"
LABELS = "data/docvqa/val/val_v1.0.json"
IMAGES = "data/docvqa/{split}/documents/{{ucsf_document_id}}_{{ucsf_document_page_no}}.png"
GET = "annotations and images as in the InternVL evaluation guide (docvqa), or `evalkit data fetch`"

TASKS = (
    Task(
        name="docvqa_val", metric="anls", expected_n=5349, files=(VAL, LABELS),
        load=partial(labelled_samples, file=VAL, labels=LABELS), score=score_anls, defects=("raw string length",),
        hub=hub_source("DocVQA", "validation", file=VAL, images=IMAGES.format(split="val"), labels=LABELS), get=GET,
    ),
    Task(
        name="docvqa_test", metric="anls", expected_n=5188, files=(TEST,), load=partial(vqa_samples, file=TEST),
        score=score_anls, labelled=False, submit=partial(submit, file=TEST),
        hub=hub_source("DocVQA", "test", file=TEST, images=IMAGES.format(split="test")), get=GET,
    ),
)  # fmt: skip
