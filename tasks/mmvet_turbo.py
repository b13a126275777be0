"""MM-Vet as VLMEvalKit runs it: open questions on pictures, graded by GPT-4 Turbo.

Official data: ``data/LMUData/MMVet.tsv`` of VLMEvalKit (protocol sheet 6.15, VLMEvalKit sheet 1, 5). The score is the
mean of the grades; an answer without a usable grade counts 0. The grade ``nan`` passes the official range test and then
ends the scorer; here it is unusable, and the judge is asked again. The official report counts a question with a single
capability twice in the mean of that capability, since the capability is also the name of its combination.

Officially a reply must be a number and nothing else; ``fixed`` takes the first one that holds a grade among words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from evalkit.data.lmu import LmuRow, lmu_rows
from evalkit.data.readers import unique
from evalkit.data.root import DataRoot
from evalkit.judge_prompts import judge_prompt
from evalkit.metrics.metric import Metric, mean
from evalkit.metrics.read_back import seen
from evalkit.records import Sample, SampleScore, Score
from evalkit.task import Task

FILE = "data/LMUData/MMVet.tsv"
PROMPT = judge_prompt("mmvet_turbo")
GRADE = re.compile(r"(?<![\w.,/+-])(?:[01]?\.\d+|[01])(?![\w/%]|[.,]\d)")
CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")


def load(root: DataRoot) -> list[Sample]:
    """Read the rows."""
    return unique(map(sample_of, lmu_rows(root, FILE)), FILE)


def sample_of(row: LmuRow) -> Sample:
    """Return one row as a sample; the category cell lists the capabilities that it needs."""
    keys = {"capabilities": row.text("category")}
    return Sample(row.id, row.text("question"), row.media, (row.text("answer"),), row.id, keys=keys)


def capability(name: str) -> Metric:
    """Return the mean grade of the questions that need a capability, as the official report counts them."""

    def counts(lines: Sequence[SampleScore]) -> Mapping[str, float]:
        needed = [(line, line.keys["capabilities"]) for line in lines if name in line.keys["capabilities"]]
        weights = [(2 if needs == name else 1, line.value or 0.0) for line, needs in needed]
        return {"sum": sum(weight * value for weight, value in weights), "n": sum(weight for weight, _ in weights)}

    return Metric(name=name, counts=counts, value=lambda sums: 100 * sums["sum"] / sums["n"])


def ask(sample: Sample, answer: str) -> str:
    """Return what the judge is asked about an answer."""
    gold = seen(sample.references[0]).replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    return PROMPT.fill(question=seen(sample.question), answer=gold, prediction=seen(answer))


def read(sample: Sample, answer: str, reply: str) -> Score | None:
    """Return the grade that a reply is; None if it is no number from 0 to 1."""
    try:
        grade = float(reply)
    except ValueError:
        return None
    return Score(grade, str(grade)) if 0 <= grade <= 1 else None


def careful(reply: str) -> float | None:
    """Return the one grade from 0 to 1 that a reply holds; None without one, or with several."""
    grades = {grade for found in GRADE.findall(reply) if (grade := float(found)) <= 1}
    return grades.pop() if len(grades) == 1 else None


def score(sample: Sample, answer: str) -> Score:
    """Return 0: an answer has no score without a grade."""
    return Score(0.0, None)


TASKS = (
    Task(
        name="mmvet_turbo", metrics=(mean("grade"), *map(capability, CAPABILITIES)), expected_n=218, files=(FILE,),
        load=load, score=score, judge=PROMPT.judge(ask, read, careful=careful),
        defects=("no words beside a grade",),
        get="MMVet.tsv of VLMEvalKit's LMUData (opencompass.openxlab.space/utils/VLMEval)",
    ),
)  # fmt: skip
