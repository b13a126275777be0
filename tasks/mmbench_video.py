"""MMBench-Video, 8 and 16 frames: free-form answers that GPT-4 rates from 0 to 3 (VLMEvalKit sheet 7, 11).

Official data: ``data/LMUData/MMBench-Video/MMBench-Video.tsv`` and ``video/<video>.mp4``. On the Hub the videos lie in
pickles; ``scripts/unpack_mmbench_video.py`` writes the files.

The official scorer runs the judge's reply through Python's ``eval`` and takes an integer of any size. Here only an
integer literal is a rating, and nothing is run: a reply that is another expression ends the official scorer, or is -1,
which counts 0. An answer that is lost on its way through an xlsx file ("None") is not sent and counts 0. ``fixed``
takes the first rating from 0 to 3 in the reply; of an answer that is not sent, whether it equals the gold answer.
"""

from __future__ import annotations

import re

from evalkit.data.lmu import LmuRow, lmu_rows
from evalkit.data.readers import unique
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.judge_prompts import judge_prompt
from evalkit.metrics.metric import mean
from evalkit.metrics.read_back import NAN, read_back, seen
from evalkit.records import Media, Sample, Score
from evalkit.task import Task

FOLDER = "data/LMUData/MMBench-Video"
FILE = f"{FOLDER}/MMBench-Video.tsv"
GROUPS = {"Perception": ("CP", "FP-S", "FP-C", "HL"), "Reasoning": ("LR", "AR", "RR", "CSR", "TR")}
DIMENSIONS = {
    "CP": ("Video Topic", "Video Emotion", "Video Scene", "Video Style"),
    "FP-S": ("OCR", "Object Recognition", "Attribute Recognition", "Event Recognition", "Human Motion", "Counting"),
    "FP-C": ("Spatial Relationship", "Human-object Interaction", "Human Interaction"),
    "HL": ("Hallucination",),
    "LR": ("Structuralized Image-Text Understanding", "Mathematical Calculation"),
    "AR": ("Physical Property", "Function Reasoning", "Identity Reasoning"),
    "RR": ("Natural Relation", "Physical Relation", "Social Relation"),
    "CSR": ("Common Sense Reasoning",),
    "TR": ("Counterfactual Reasoning", "Causal Reasoning", "Future Prediction"),
}
PROMPT = judge_prompt("mmbench_video")

# A non-negative integer literal of Python: int() would also accept "03" and other scripts' digits.
_INTEGER = re.compile(r"[ \t\f\r\n]*(\+?(?:0(?:_?0)*|[1-9](?:_?[0-9]){0,14}))[ \t\f\r\n]*")
_RATING = re.compile(r"(?<![\w.-])([0-3])(?:\.0+)?(?![\w]|[.,]\d)")


def load(root: DataRoot) -> list[Sample]:
    """Read the questions; a gold answer that pandas loses ("None") is the text ``nan``, as the judge is shown it."""
    samples = []
    for row in lmu_rows(root, FILE):
        video, gold = f"{FOLDER}/video/{row.text('video')}.mp4", (row.data.get("answer", NAN),)
        samples.append(
            Sample(
                row.id, row.text("question"), (Media(video, "video"),), gold, group=video, more_subsets=subsets(row)
            )
        )  # fmt: skip
    return unique(samples, FILE)


def subsets(row: LmuRow) -> tuple[str, ...]:
    """Return the dimensions and groups of a question, each once.

    Raises:
        UsageError: it has none, or one that the official table does not have.
    """
    fine = set(row.entries("dimensions"))
    unknown = fine.difference(*DIMENSIONS.values())
    if unknown or not fine:
        raise UsageError(f"{row.where}: 'dimensions' must name some of MMBench-Video's, not {sorted(unknown)}")
    coarse = [name for name, members in DIMENSIONS.items() if fine.intersection(members)]
    return (*coarse, *(name for name, members in GROUPS.items() if set(coarse).intersection(members)))


def ask(sample: Sample, answer: str) -> str | None:
    """Return the judge's prompt; None if the answer is lost before it is sent."""
    sent = read_back(answer)
    if sent is None:
        return None
    return PROMPT.fill(question=seen(sample.question), answer=seen(sample.references[0]), prediction=sent)


def read(sample: Sample, answer: str, reply: str) -> Score | None:
    """Read a rating; any other text counts 0."""
    official, first = _INTEGER.fullmatch(reply), _RATING.search(reply)
    if not official and not first:
        return None
    rating = int(official[1]) if official else None
    return Score((rating or 0) / 3, None if rating is None else str(rating), int(first[1]) / 3 if first else 0.0)


def score(sample: Sample, answer: str) -> Score:
    """Score an answer that is not sent: 0 officially."""
    given, gold = (text.strip().rstrip(".").casefold() for text in (answer, sample.references[0]))
    return Score(0.0, None, float(bool(given) and given == gold), "lost in the xlsx file: not sent to the judge")


def task(name: str) -> Task:
    """Return the task of one number of frames, which the card's recipe sets."""
    return Task(
        name=name, metrics=(mean("gpt_score", maximum=3.0),), expected_n=1998, unverified_n=True, files=(FILE,),
        load=load, score=score, judge=PROMPT.judge(ask, read), unbounded=True,
        defects=("no range check", "integer literals alone are ratings", "answers like 'None' are not sent"),
        get="the Hub's opencompass/MMBench-Video in data/LMUData/MMBench-Video/, then "
        "python scripts/unpack_mmbench_video.py DATA_ROOT for the videos",
    )  # fmt: skip


TASKS = (task("mmbench_video_8f"), task("mmbench_video_16f"))
