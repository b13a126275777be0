"""MMBench dev and test, English and Chinese, and CCBench dev: circular multiple choice.

Official data: TSV files with the images inside (protocol sheet 6.11-6.13). Each question is asked once per rotation of
its options, rotation k at index + k*1,000,000, and counts as right only if all its rotations are. The official script
reads the first letter as the choice ("Answer: B" is read as A); ``fixed`` reads the answer carefully.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.data.hub import HubSource, write_tsv
from evalkit.data.readers import Record, read_tsv, tsv_columns, unique
from evalkit.data.root import DataRoot
from evalkit.data.submission import write_xlsx
from evalkit.errors import UsageError
from evalkit.metrics.choice import careful_choice, first_letter_choice
from evalkit.records import Media, Sample, Score
from evalkit.task import Task

ROTATION = 1_000_000
DROPPED = frozenset({"hint", "category", "source", "image", "comment", "l2-category", "L2-category"})
GET = "the TSV from download.openmmlab.com, see the InternVL evaluation guide (mmbench)"


def load(root: DataRoot, *, file: str) -> list[Sample]:
    """Read the rows of one file; hints and options that pandas reads as missing are skipped, as officially."""
    samples = []
    for row in read_tsv(root.resolve(file), file):
        index = row.identity("index")
        if not (index.isascii() and index.isdecimal() and len(index) < 18):
            raise UsageError(f"{row.where}: 'index' must be a number, not {index!r}")
        options = {letter: row.text(letter) for letter in "ABCDE" if letter in row.data}
        hint = row.data["hint"] + "\n" if "hint" in row.data else ""
        question = hint + row.text("question") + "".join(f"\n{letter}. {text}" for letter, text in options.items())
        gold = (row.text("answer"),) if "answer" in row.data else ()
        group = str(int(index) % ROTATION)
        subset = row.data.get("category")
        samples.append(
            Sample(index, question, (Media(f"{file}#{index}", "row"),), gold, group, subset, {"options": options})
        )
    return unique(samples, file)


def score(sample: Sample, answer: str) -> Score:
    """Score one row alone; the metric counts whole questions."""
    options = sample.fields["options"]
    choice = first_letter_choice(answer, options)
    fixed = careful_choice(answer, options)
    gold = sample.references[0]
    return Score(float(choice == gold), choice if choice in options else None, float(fixed == gold))


def submit(root: DataRoot, responses: Mapping[str, str], path: Path, *, file: str, drop: Set[str], column: int) -> None:
    """Write the official script's xlsx: the table without some columns, and the choice as column ``prediction``."""
    columns = [name for name in tsv_columns(root.resolve(file), file) if name not in drop]
    options = {sample.id: sample.fields["options"] for sample in load(root, file=file)}

    def cells(row: Record) -> list[str | int | None]:
        choice = first_letter_choice(responses[row.text("index")], options[row.text("index")])
        texts = [int(row.text(name)) if name == "index" else row.data.get(name) for name in columns]
        return [*texts[:column], choice, *texts[column:]]

    rows = (cells(row) for row in read_tsv(root.resolve(file), file))
    write_xlsx(path, [*columns[:column], "prediction", *columns[column:]], rows)


def task(
    name: str,
    expected_n: int,
    file: str,
    hub: tuple[str, str] | None = None,
    labelled: bool = True,
    drop: Set[str] = DROPPED,
    column: int = 6,
) -> Task:
    """Return the task of one TSV; ``hub`` is (config, split) of the copy that holds the same rows.

    The submission file lacks the columns ``drop`` and has the prediction as 0-based ``column``.
    """
    path = f"data/mmbench/{file}"

    def write(rows: Iterable[Mapping[str, Any]], root: DataRoot) -> int:
        return write_tsv(rows, root, file=path)

    source = HubSource(repo="lmms-lab/MMBench", config=hub[0], split=hub[1], write=write) if hub else None
    return Task(
        name=name, metric="circular_accuracy", expected_n=expected_n, files=(path,), load=partial(load, file=path),
        score=score, labelled=labelled, unit=lambda sample: sample.group,
        defects=("first letter read as the choice",),
        hub=source, get=GET, submit=partial(submit, file=path, drop=drop, column=column),
    )  # fmt: skip


TASKS = (
    task("mmbench_dev_en", 4377, "mmbench_dev_20230712.tsv"),
    task("mmbench_test_en", 6666, "mmbench_test_en_20231003.tsv", ("en", "test"), labelled=False),
    task("mmbench_dev_cn", 4329, "mmbench_dev_cn_20231003.tsv", ("cn", "dev")),
    task("mmbench_test_cn", 6666, "mmbench_test_cn_20231003.tsv", ("cn", "test"), labelled=False),
    task("ccbench_dev", 2040, "CCBench_legacy.tsv", drop={"category", "image"}, column=8),
)
