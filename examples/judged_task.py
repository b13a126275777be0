"""A task whose answers another model judges: captions, rated from 0 to 10.

`data/captions/test.jsonl` has lines like `{"image": "data/captions/a.png", "answer": "a red square"}`.
"""

from collections.abc import Iterator

from evalkit.data.readers import read_jsonl
from evalkit.data.root import DataRoot
from evalkit.judging import Judge
from evalkit.records import Media, Recipe, Sample, Score
from evalkit.task import Task

FILE = "data/captions/test.jsonl"


def load(root: DataRoot) -> Iterator[Sample]:
    for record in read_jsonl(root.resolve(FILE), FILE):
        path = record.text("image")
        yield Sample(str(record.line), "Describe the picture.", (Media(path),), record.texts("answer"), group=path)


def exact(sample: Sample, answer: str) -> Score:
    return Score(float(answer in sample.references), answer or None)


def ask(sample: Sample, answer: str) -> str | None:
    if answer in sample.references:
        return None  # nothing to judge: `exact` scores it
    return f"Reference: {sample.references[0]}\nCaption: {answer}\nHow well do they agree, from 0 to 10? Only a number."


def read(sample: Sample, answer: str, reply: str) -> Score | None:
    if not reply.strip().isdecimal() or int(reply) > 10:
        return None  # not a number: retried at the next temperature
    return Score(int(reply) / 10, reply.strip())


TASKS = (
    Task(
        name="captions_test",
        metric="rating",
        expected_n=2,
        files=(FILE,),
        load=load,
        score=exact,
        judge=Judge(name="gpt-4-0613", ask=ask, read=read, max_new_tokens=3, temperatures=(0.0, 0.5, 1.0)),
        recipe=Recipe(prompt="{media}{question}", max_new_tokens=40),
        get="python examples/draw.py D",
    ),
)
