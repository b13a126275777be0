"""OCRBench: 1000 questions on text in pictures, right if the answer contains a gold text; the score is their number.

Official data: ``data/LMUData/OCRBench.tsv`` of VLMEvalKit (protocol sheet 6.5, VLMEvalKit sheet 1, 9). Case and outer
blanks do not count; in formulas they do, but blanks and newlines inside do not. "4" is contained in "1,42": ``fixed``
looks for a gold text of one or two characters as a whole word, in the answer as the model gave it.
"""

from __future__ import annotations

from evalkit.data.lmu import LmuRow, lmu_rows
from evalkit.data.readers import unique
from evalkit.data.root import DataRoot
from evalkit.metrics.matching import holds_words
from evalkit.metrics.metric import count
from evalkit.metrics.read_back import seen
from evalkit.records import Sample, Score
from evalkit.task import Task

FILE = "data/LMUData/OCRBench.tsv"
FORMULAS = "Handwritten Mathematical Expression Recognition"
# What the official report calls each category of the file.
GROUPS = {
    "Regular Text Recognition": "Text Recognition",
    "Irregular Text Recognition": "Text Recognition",
    "Artistic Text Recognition": "Text Recognition",
    "Handwriting Recognition": "Text Recognition",
    "Digit String Recognition": "Text Recognition",
    "Non-Semantic Text Recognition": "Text Recognition",
    "Scene Text-centric VQA": "Scene Text-centric VQA",
    "Doc-oriented VQA": "Doc-oriented VQA",
    "Key Information Extraction": "Key Information Extraction",
    FORMULAS: FORMULAS,
}
SHORT = 2


def load(root: DataRoot) -> list[Sample]:
    """Read the rows."""
    return unique(map(sample_of, lmu_rows(root, FILE)), FILE)


def sample_of(row: LmuRow) -> Sample:
    """Return one row as a sample; a category that is none of the ten ends the official scorer."""
    group = GROUPS[row.among("category", GROUPS)]
    return Sample(row.id, row.text("question"), row.media, tuple(row.entries("answer")), row.id, group)


def score(sample: Sample, answer: str) -> Score:
    """Return whether an answer contains a gold text."""
    formula = sample.subset == FORMULAS
    given = comparable(seen(answer), formula)
    official = any(comparable(gold, formula) in given for gold in sample.references)
    fixed = any(intended(gold, answer, formula) for gold in sample.references)
    return Score(float(official), answer.strip() or None, float(fixed))


def comparable(text: str, formula: bool) -> str:
    """Return a text as the official scorer compares it."""
    text = text.strip().replace("\n", " ")
    return text.replace(" ", "") if formula else text.lower()


def intended(gold: str, answer: str, formula: bool) -> bool:
    """Return whether an answer contains a gold text, a short one as a whole word; an empty one is in no answer."""
    gold, answer = comparable(gold, formula), comparable(answer, formula)
    return bool(gold) and (holds_words(answer, gold) if len(gold) <= SHORT and not formula else gold in answer)


TASKS = (
    Task(
        name="ocrbench", metrics=(count("count_correct", maximum=1000),), expected_n=1000, files=(FILE,), load=load,
        score=score, defects=("short golds inside other words", "xlsx round trip"),
        get="OCRBench.tsv of VLMEvalKit's LMUData (opencompass.openxlab.space/utils/VLMEval)",
    ),
)  # fmt: skip
