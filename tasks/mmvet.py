"""MM-Vet in the InternVL repository's run: open questions on pictures, graded by GPT-4.

Official data: ``data/mm-vet/{llava-mm-vet.jsonl,images/}``, and ``mm-vet.json`` of the same archive with the
evaluator's gold answers and capabilities (protocol sheet 6.14). The score is the mean of the grades. The evaluator
accepts the grade ``nan``, after which its score is no number; here that reply is unusable and the judge is asked
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evalkit.data.readers import Record, read_jsonl, read_record, unique
from evalkit.data.root import DataRoot
from evalkit.data.submission import write_json
from evalkit.errors import UsageError
from evalkit.judge_prompts import judge_prompt
from evalkit.records import Media, Sample, Score
from evalkit.task import Task

QUESTIONS = "data/mm-vet/llava-mm-vet.jsonl"
ANSWERS = "data/mm-vet/mm-vet.json"
JUDGE = judge_prompt("mmvet_0613")


def name_of(key: str) -> str:
    """Return the evaluator's name of a question."""
    return f"v1_{key}"


def load(root: DataRoot) -> list[Sample]:
    """Read the questions, with gold answers and capabilities from the evaluator's file."""
    known = read_record(root.resolve(ANSWERS), ANSWERS)
    rows = read_jsonl(root.resolve(QUESTIONS), QUESTIONS)
    return unique((sample_of(row, known) for row in rows), QUESTIONS)


def sample_of(row: Record, known: Record) -> Sample:
    """Return one question as a sample."""
    key = row.identity("question_id")
    if name_of(key) not in known.data:
        raise UsageError(f"{row.where}: question {key} is not in {known.where} (as {name_of(key)!r})")
    gold, image = known.record(name_of(key)), f"data/mm-vet/images/{row.text('image')}"
    return Sample(
        key, row.text("text"), (Media(image),), (gold.text("answer"),), image,
        fields={"question": gold.text("question")}, more_subsets=gold.texts("capability"),
    )  # fmt: skip


def ask(sample: Sample, answer: str) -> str:
    """Return the evaluator's request about an answer."""
    truth = sample.references[0].replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    return JUDGE.fill(question=sample.fields["question"], truth=truth, answer=answer)


def read(sample: Sample, answer: str, reply: str) -> Score | None:
    """Return the grade that starts a reply; None if it is no number from 0 to 1."""
    grade = reply.split(" ")[0].strip()
    try:
        value = float(grade)
    except ValueError:
        return None
    return Score(value, grade) if 0 <= value <= 1 else None


def score(sample: Sample, answer: str) -> Score:
    """Return 0: an answer has no score without a grade."""
    return Score(0.0, None)


def submit(root: DataRoot, responses: Mapping[str, str], path: Path) -> None:
    """Write the evaluator's file of answers (huggingface.co/spaces/whyu/MM-Vet_Evaluator)."""
    write_json(path, {name_of(key): answer for key, answer in responses.items()})


TASKS = (
    Task(
        name="mmvet", metric="grade", expected_n=218, files=(QUESTIONS, ANSWERS), load=load, score=score,
        judge=JUDGE.judge(ask, read), submit=submit,
        get="llava-mm-vet.jsonl, images and mm-vet.json as in the InternVL evaluation guide (mm-vet)",
    ),
)  # fmt: skip
