"""MathVista testmini as VLMEvalKit runs it: a judge extracts what an answer says, and exact comparison follows.

Official data: ``data/LMUData/MathVista_MINI.tsv`` of VLMEvalKit (protocol sheet 6.19, VLMEvalKit sheet 1, 6). The judge
is not asked if the answer names an option, right or wrong, or is the gold number, unless that is zero. Any reply is
final, and goes through an xlsx file as the answer does; only failed requests are repeated.
Officially an integer must be written as one ("14.0" is wrong), floats must be equal, and lists are always wrong.
``fixed`` takes integers by value, floats to the row's precision, lists by their numbers: of the answer if it is nothing
else, or of the reply. MathVista's own scorer judges 2 to 4 % of the answers otherwise.
"""

from __future__ import annotations

import re
from string import ascii_uppercase

from evalkit.data.lmu import LmuRow, lmu_rows
from evalkit.data.readers import unique
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.judge_prompts import judge_prompt
from evalkit.metrics.matching import match_option
from evalkit.metrics.read_back import read_back, seen
from evalkit.records import Sample, Score
from evalkit.task import Task

FILE = "data/LMUData/MathVista_MINI.tsv"
PROMPT = judge_prompt("mathvista")
NUMBER = re.compile(r"(?:(?<![\w.])-)?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
EXACT = 9  # decimals
KINDS = ("text", "integer", "float", "list")
PRECISIONS = ("0", "1", "2", "3", "4", "0.0", "1.0", "2.0", "3.0", "4.0")


def load(root: DataRoot) -> list[Sample]:
    """Read the rows."""
    return unique(map(sample_of, lmu_rows(root, FILE)), FILE)


def sample_of(row: LmuRow) -> Sample:
    """Return one row as a sample; task and skills are its subsets."""
    kind, options = row.among("answer_type", KINDS), {}
    if row.text("question_type") == "multi_choice":
        kind, options = "choice", dict(zip(ascii_uppercase, row.entries("choices"), strict=False))
        if len(options) < 2:
            raise UsageError(f"{row.where}: 'choices' must be a list of two or more, not {row.text('choices')!r}")
    gold = row.text("answer_option" if options else "answer")
    rounded = kind == "float" and "precision" in row.data
    decimals, skills = int(row.among("precision", PRECISIONS)[0]) if rounded else EXACT, tuple(row.entries("skills"))
    fields = {"kind": kind, "options": options, "decimals": decimals}
    return Sample(
        row.id, row.text("question"), row.media, (gold,), row.id, row.text("task"), fields, more_subsets=skills
    )


def meaning(sample: Sample, text: str) -> str | float | None:
    """Return the option or number that a text is to the official scorer; None for any other text."""
    kind = sample.fields["kind"]
    if kind == "choice":
        return match_option(text, sample.fields["options"])
    try:
        return int(text) if kind == "integer" else float(text) if kind == "float" else None
    except ValueError:
        return None


def gold_of(sample: Sample) -> str | float | None:
    """Return the gold answer as the official scorer compares it."""
    gold: str = sample.references[0]
    return gold if sample.fields["options"] else meaning(sample, gold)


def intended(sample: Sample, text: str) -> bool | None:
    """Return whether a text is right by its numbers; None without a single one, or without any of a list."""
    kind, decimals = sample.fields["kind"], sample.fields["decimals"]
    if kind in ("choice", "text"):
        return None
    found, gold = (numbers(one, grouped=kind != "list") for one in (text, sample.references[0]))
    if kind == "list":
        return found == gold if found else None
    return round(found[0], decimals) == round(gold[0], decimals) if len(found) == len(gold) == 1 else None


def numbers(text: str, *, grouped: bool) -> list[float]:
    """Return the numbers in a text; grouped: commas may separate thousands."""
    return [float(found) for found in NUMBER.findall(THOUSANDS.sub("", text) if grouped else text)]


def ask(sample: Sample, answer: str) -> str | None:
    """Return what the judge is asked about an answer that is neither an option nor the gold number."""
    found = meaning(sample, seen(answer))
    if found and (sample.fields["kind"] == "choice" or found == gold_of(sample)):
        return None
    return PROMPT.fill(question=seen(sample.question), prediction=seen(answer))


def score(sample: Sample, answer: str) -> Score:
    """Score an answer that needs no judge."""
    return judged(sample, answer, answer, str(meaning(sample, seen(answer))).removesuffix(".0"))


def read(sample: Sample, answer: str, reply: str) -> Score:
    """Score what the judge extracted; any reply is final."""
    return judged(sample, answer, reply.strip(), read_back(reply.strip()))


def judged(sample: Sample, answer: str, text: str, shown: str | None) -> Score:
    """Score what an answer is taken to say; the fixed score takes the answer itself if it is just a number or list."""
    found = meaning(sample, seen(text))
    right = found is not None and found == gold_of(sample)
    bare = any(map(str.isdigit, answer)) and not any(map(str.isalpha, answer))
    fixed = intended(sample, answer if bare else text)
    return Score(float(right), shown, float(right if fixed is None else fixed))


TASKS = (
    Task(
        name="mathvista_testmini", metric="accuracy", expected_n=1000, files=(FILE,), load=load, score=score,
        judge=PROMPT.judge(ask, read),
        defects=("zero is not taken", "lists always wrong", "integers as text", "no precision", "xlsx round trip"),
        get="MathVista_MINI.tsv of VLMEvalKit's LMUData (opencompass.openxlab.space/utils/VLMEval)",
    ),
)  # fmt: skip
