"""Video-MME, without and with subtitles: 2,700 multiple-choice questions on 900 videos (VLMEvalKit sheet 8, 11).

Official data: ``data/LMUData/Video-MME/Video-MME.tsv``, which VLMEvalKit makes of the Hub's
``videomme/test-00000-of-00001.parquet`` (either is read), ``video/<videoID>.mp4`` and ``subtitle/<videoID>.srt``.

The official scorer deletes some prefixes and takes the first of A, B, C, D anywhere in the answer ("Because" is B). An
answer without one leaves the mean, so that refusing raises it. One that comes back from an xlsx file as a missing value
or a number ("None", "=A") ends the official scorer; here it counts wrong. ``fixed`` reads a letter that stands alone,
from the answer as the model gave it, and counts an answer without one wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evalkit.data.lmu import lmu_rows
from evalkit.data.parquet import read_parquet
from evalkit.data.readers import Record, unique
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.media.subtitles import found_subtitles, subtitles_at
from evalkit.metrics.choice import careful_choice
from evalkit.metrics.metric import mean
from evalkit.metrics.read_back import read_back
from evalkit.records import Layout, Media, Sample, SampleScore, Score
from evalkit.task import Task

FOLDER = "data/LMUData/Video-MME"
FILE = f"{FOLDER}/Video-MME.tsv"
PARQUET = f"{FOLDER}/videomme/test-00000-of-00001.parquet"
# Two pairs stand in the official list without a comma between them; Python joins them, so neither is ever found.
PREFIXES = (
    "The best answer is", "The correct answer is", "The answer is", "The answer",
    "The best option isThe correct option is", "Best answer:Best option:", "Answer:", "Option:",
)  # fmt: skip
CRASH = "reads back from xlsx as a missing value or a number, with which the official scorer crashes"
LETTERS = dict.fromkeys("ABCD", "")


def load(root: DataRoot) -> list[Sample]:
    """Read the questions, from the TSV if there is one; the id is the row's number."""
    samples = []
    for index, question, row in _rows(root):
        name = row.text("videoID" if "videoID" in row.data else "video")
        if not name:
            raise UsageError(f"{row.where}: no name of a video")
        video, lines = f"{FOLDER}/video/{name}.mp4", root.resolve(f"{FOLDER}/subtitle/{name}.srt")
        samples.append(
            Sample(
                index, question, (Media(video, "video"),), (row.text("answer"),), video,
                row.text("duration"), {"subtitles": lines},
            )
        )  # fmt: skip
    return unique(samples, FILE)


def _rows(root: DataRoot) -> Iterator[tuple[str, str, Record]]:
    """Yield index and question, options included, of each row, and the row."""
    parquet = root.resolve(PARQUET)
    if parquet.is_file() and not root.resolve(FILE).is_file():
        for row in read_parquet(parquet, PARQUET, ("videoID", "duration", "question", "options", "answer")):
            yield str(row.line), "\n".join((row.text("question"), *row.texts("options"))), row
        return
    for one in lmu_rows(root, FILE):
        yield one.id, one.text("question"), one


def subtitles(sample: Sample, layouts: Sequence[Layout | None]) -> str:
    """Return the subtitles at the frames of a question's video."""
    (layout,) = layouts
    return subtitles_at(sample.fields["subtitles"], layout.frames, layout.fps) if layout else ""


def check(samples: Sequence[Sample], read: bool) -> list[str]:
    """Say how many videos have subtitles: without a file the prompt has none, as officially."""
    paths = {sample.fields["subtitles"] for sample in samples}
    return [f"subtitles for {found_subtitles(paths, read)} of {len(paths)} videos (officially 744 of 900)"]


def score(sample: Sample, answer: str) -> Score:
    """Score by the first of A, B, C, D."""
    gold, sent = sample.references[0], read_back(answer)
    fixed = float(careful_choice(answer, LETTERS) == gold)
    if sent is None or (sent == "0" != answer):
        return Score(0.0, None, fixed, CRASH)
    for prefix in PREFIXES:
        sent = sent.replace(prefix, "")
    found = re.search("[ABCD]", sent)
    choice = found[0] if found else None
    return Score(float(choice == gold), choice, fixed)


def in_mean(line: SampleScore) -> bool:
    """Return whether a sample is in the official mean: not if its answer has no letter."""
    return line.answer is not None or line.outcome.failed or line.reason == CRASH


TASKS = tuple(
    Task(
        name=name, expected_n=2700, files=(FILE,), instead=(PARQUET,), load=load, score=score,
        subtitles=shown, check=checked,
        metrics=(mean("accuracy", included=in_mean, fixed=mean("accuracy")),),
        defects=("prefixes glued together", "letters inside words", "answers without a letter leave the mean"),
        get="the Hub's lmms-lab/Video-MME in data/LMUData/Video-MME/, its zip files unpacked into video/ and subtitle/",
    )
    for name, shown, checked in (("videomme_wo_subs", None, None), ("videomme_w_subs", subtitles, check))
)  # fmt: skip
