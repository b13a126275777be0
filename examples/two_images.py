"""A task with several images per question: which of two pictures is brighter?

`data/brighter/test.jsonl` has lines like `{"first": "data/brighter/a.png", "second": "data/brighter/b.png", "answer":
"2"}`.
"""

from collections.abc import Iterator

from evalkit.data.readers import read_jsonl
from evalkit.data.root import DataRoot
from evalkit.records import Media, Recipe, Sample, Score
from evalkit.task import Task

FILE = "data/brighter/test.jsonl"


def load(root: DataRoot) -> Iterator[Sample]:
    for record in read_jsonl(root.resolve(FILE), FILE):
        pictures = record.text("first"), record.text("second")
        yield Sample(
            id=str(record.line),
            question="Which picture is brighter? Answer 1 or 2.",
            media=tuple(Media(path) for path in pictures),
            references=(record.text("answer"),),
            group=" ".join(pictures),  # questions about the same pictures are one media group
        )


def score(sample: Sample, answer: str) -> Score:
    said = [digit for digit in "12" if digit in answer]
    return Score(float(said == list(sample.references)), said[0] if len(said) == 1 else None)


TASKS = (
    Task(
        name="brighter_test",
        metric="accuracy",
        expected_n=2,
        files=(FILE,),
        load=load,
        score=score,
        recipe=Recipe(prompt="{media}{question}", media_prompt="Picture-{i}: <image>\n", max_new_tokens=4),
        get="python examples/draw.py D",
    ),
)
