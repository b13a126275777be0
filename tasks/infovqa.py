"""InfographicVQA, validation and test: questions on infographics, scored by ANLS.

Official data: ``data/infographicsvqa/{val,test}.jsonl``, images in ``infographicsvqa_images/``, gold answers of val in
``infographicsVQA_val_v1.0_withQT.json`` (protocol sheet 6.3). Test answers are hidden: they are scored by the RRC
server (ch=17). The official val scorer divides by the raw string length; ``fixed`` divides by the length of the
compared strings.
"""

from __future__ import annotations

from functools import partial

from evalkit.data.readers import vqa_samples
from evalkit.data.rrc import hub_source, labelled_samples, submit
from evalkit.metrics.anls import score_anls
from evalkit.task import Task

VAL = "data/infographicsvqa/val.jsonl"
TEST = "data/infographicsvqa/test.jsonl"
LABELS = "data/infographicsvqa/infographicsVQA_val_v1.0_withQT.json"
# The Hub's rows do not name their image.
IMAGES = "data/infographicsvqa/infographicsvqa_images/{image_sha1}.jpeg"
GET = "annotations and images as in the InternVL evaluation guide (infographicsvqa), or `evalkit data fetch`"

TASKS = (
    Task(
        name="infovqa_val", metric="anls", expected_n=2801, unverified_n=True, files=(VAL, LABELS),
        load=partial(labelled_samples, file=VAL, labels=LABELS), score=score_anls, defects=("raw string length",),
        hub=hub_source("InfographicVQA", "validation", file=VAL, images=IMAGES, labels=LABELS), get=GET,
    ),
    Task(
        name="infovqa_test", metric="anls", expected_n=3288, unverified_n=True, files=(TEST,),
        load=partial(vqa_samples, file=TEST), score=score_anls, labelled=False, submit=partial(submit, file=TEST),
        hub=hub_source("InfographicVQA", "test", file=TEST, images=IMAGES), get=GET,
    ),
)  # fmt: skip
