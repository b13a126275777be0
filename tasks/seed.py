"""SEED-Bench, the image part: multiple choice in nine types, scored by the first character.

Official data: ``data/SEED/seed.jsonl``, images beside it, gold answers and types in ``SEED-Bench.json`` (protocol
sheet 6.16). The questions on videos (ids "v...") are left out. The official script takes the first character as the
choice ("Because" is B), crashes on an empty answer, which is wrong here, and gives two questions with one id (49914)
the gold answer and the type of the last; ``fixed`` reads the answer carefully and gives each question its own gold
answer.
"""

from __future__ import annotations

from collections import Counter

from evalkit.data.readers import Record, read_jsonl, read_record, unique
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.metrics.choice import careful_choice
from evalkit.records import Media, Sample, Score
from evalkit.task import Task

QUESTIONS = "data/SEED/seed.jsonl"
ANNOTATIONS = "data/SEED/SEED-Bench.json"
LETTERS = "ABCD"
EMPTY = "an empty answer, on which the official script crashes"


def load(root: DataRoot) -> list[Sample]:
    """Read the questions on images, with the gold answers of the annotation file."""
    content = read_record(root.resolve(ANNOTATIONS), ANNOTATIONS)
    names = {str(number): name for name, number in content.record("question_type").data.items()}
    annotations: dict[str, list[Record]] = {}
    for row in content.records("questions"):
        annotations.setdefault(row.identity("question_id"), []).append(row)
    seen: Counter[str] = Counter()
    samples = []
    for row in read_jsonl(root.resolve(QUESTIONS), QUESTIONS):
        key = row.identity("question_id")
        if key.startswith("v"):
            continue
        if key not in annotations:
            raise UsageError(f"{row.where}: question {key} is not in {content.where}")
        samples.append(sample_of(row, key, seen[key], annotations[key], names))
        seen[key] += 1
    return unique(samples, QUESTIONS)


def sample_of(row: Record, key: str, place: int, annotations: list[Record], names: dict[str, str]) -> Sample:
    """Return a line as a sample: the ``place``-th (0-based) with its id, which has these annotations."""
    last, own = annotations[-1], annotations[min(place, len(annotations) - 1)]
    kind = last.identity("question_type_id")
    if kind not in names:
        raise UsageError(f"{last.where}: 'question_type_id' {kind} is not in 'question_type'")
    image = f"data/SEED/{row.text('image')}"
    options = {letter: own.text(f"choice_{letter.lower()}") for letter in LETTERS}
    return Sample(
        f"{key}#{place + 1}" if place else key, row.text("text"), (Media(image),), (last.text("answer"),), image,
        names[kind], {"options": options, "own": own.text("answer")},
    )  # fmt: skip


def score(sample: Sample, answer: str) -> Score:
    """Score by the first character."""
    choice = answer[:1]
    fixed = careful_choice(answer, sample.fields["options"]) == sample.fields["own"]
    read = choice if choice in [*LETTERS] else None
    return Score(float(choice == sample.references[0]), read, float(fixed), "" if answer else EMPTY)


TASKS = (
    Task(
        name="seed_image", metric="accuracy", expected_n=14233, files=(QUESTIONS, ANNOTATIONS), load=load, score=score,
        defects=("first character read as the choice", "gold answer of a repeated id"),
        get="data as in the InternVL evaluation guide (seed); SEED-Bench.json of the Hub dataset AILab-CVC/SEED-Bench",
    ),
)  # fmt: skip
