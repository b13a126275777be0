"""MMMU validation as in the InternVL repository: college questions with up to seven pictures.

Official data: ``data/MMMU/<Subject>/validation-00000-of-00001.parquet`` of the Hub dataset, pictures inside, and the
gold answers in ``answer_dict_val.json`` of the repository (protocol sheet 6.9). The official script reads the first
letter as the choice ("Answer: B" is read as A) and crashes on an empty answer, which is wrong here; ``fixed`` reads
the choice carefully.
"""

from __future__ import annotations

import ast
from string import ascii_uppercase

from evalkit.data.parquet import read_parquet
from evalkit.data.readers import Record, read_record, unique
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.metrics.choice import careful_choice, first_letter_choice
from evalkit.metrics.mmmu import open_match
from evalkit.records import Media, Sample, Score
from evalkit.task import Task

LABELS = "data/MMMU/answer_dict_val.json"
COLUMNS = ("id", "question", "options", "question_type")
IMAGES = tuple(f"image_{number}" for number in range(1, 8))
# Form of a question by its type in the Parquet files, and in the gold file.
FORMS = {"multiple-choice": "choice", "open": "open", "short-answer": "open"}
DOMAINS = {
    "Art and Design": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health and Medicine": (
        "Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy",
        "Public_Health",
    ),
    "Humanities and Social Science": ("History", "Literature", "Psychology", "Sociology"),
    "Tech and Engineering": (
        "Agriculture", "Architecture_and_Engineering", "Computer_Science", "Electronics", "Energy_and_Power",
        "Materials", "Mechanical_Engineering",
    ),
}  # fmt: skip
# In the order in which the script reads them.
DOMAIN_OF = dict(sorted((subject, domain) for domain, subjects in DOMAINS.items() for subject in subjects))
EMPTY = "an empty answer, on which the official script crashes"


def file_of(subject: str) -> str:
    """Return the official path of a subject's questions."""
    return f"data/MMMU/{subject}/validation-00000-of-00001.parquet"


def load(root: DataRoot) -> list[Sample]:
    """Read the subjects whose file is present."""
    gold = read_record(root.resolve(LABELS), LABELS)
    files = ((subject, file_of(subject)) for subject in DOMAIN_OF)
    return unique(
        (
            sample_of(row, subject, gold)
            for subject, file in files
            if root.resolve(file).is_file()
            for row in read_parquet(root.resolve(file), file, COLUMNS, IMAGES)
        ),
        "data/MMMU",
    )


def sample_of(row: Record, subject: str, gold: Record) -> Sample:
    """Return one row as a sample."""
    key, form = row.text("id"), FORMS.get(row.text("question_type"), "")
    if key not in gold.data:
        raise UsageError(f"{row.where}: question {key} has no gold answer in {gold.where}")
    answer = gold.record(key)
    if FORMS.get(answer.text("question_type")) != form:
        raise UsageError(f"{row.where}: {key} is {row.data['question_type']!r}, other than in {gold.where}")
    if not row.data[IMAGES[0]]:
        raise UsageError(f"{row.where}: {IMAGES[0]} holds no image")
    options = dict(zip(ascii_uppercase, options_of(row), strict=False))
    question = "\n".join((row.text("question").strip(), *(f"{letter}. {text}" for letter, text in options.items())))
    media = tuple(Media(f"{file_of(subject)}#{row.line}/{name}", "row") for name in IMAGES if row.data[name])
    return Sample(
        key, question, media, answer.texts("ground_truth"), media[0].path, subject, {"options": options},
        more_subsets=(f"Overall-{DOMAIN_OF[subject]}",), form=form,
    )  # fmt: skip


def options_of(row: Record) -> list[str]:
    """Return a question's options without outer blanks; the cell is the text of a Python list."""
    try:
        options = ast.literal_eval(row.text("options"))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        options = None
    texts = isinstance(options, list) and all(isinstance(option, str) for option in options)
    if not texts or len(options) > len(ascii_uppercase):
        raise UsageError(f"{row.where}: 'options' must be a list of at most 26 texts, not {row.data['options']!r:.80}")
    return [option.strip() for option in options]


def score(sample: Sample, answer: str) -> Score:
    """Score a choice by its letter, an open answer by MMMU's parser."""
    if sample.form == "open":
        return Score(float(open_match(answer, sample.references)), answer.strip() or None)
    options, gold = sample.fields["options"], sample.references[0]
    choice = first_letter_choice(answer, options)
    fixed = careful_choice(answer, options)
    read = choice if choice in options else None
    return Score(float(choice == gold), read, float(fixed == gold), "" if choice else EMPTY)


TASKS = (
    Task(
        name="mmmu_val", metric="accuracy", expected_n=900, files=(LABELS, *map(file_of, DOMAIN_OF)), load=load,
        score=score, parts=True, shared=(LABELS,), defects=("first letter read as the choice",),
        get="validation Parquet files of the Hub dataset MMMU/MMMU; answer_dict_val.json of InternVL's eval/mmmu",
    ),
)  # fmt: skip
