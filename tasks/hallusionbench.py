"""HallusionBench: yes/no questions on figures, their originals and edited versions.

Official data: ``data/LMUData/HallusionBench.tsv`` of VLMEvalKit (protocol sheet 6.18, VLMEvalKit sheet 1, 4). The score
is the mean of three: right answers; figures with all questions right; questions right on all figures. The parts of an
index (``VD_illusion_1_0_2_3``) are category, subcategory, visual input, set, figure and question. A judge is asked only
where the words of an answer settle nothing, else such an answer is wrong.

The official reader loses a word glued to another ("yes.Then" is nothing) and finds one inside another ("no-one" is no);
``fixed`` takes the first yes or no that is a whole word of the answer itself.
"""

from __future__ import annotations

from evalkit.data.lmu import LmuRow, lmu_rows
from evalkit.data.readers import unique
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.judge_prompts import judge_prompt
from evalkit.metrics.matching import careful_yes_no, match_yes_no
from evalkit.metrics.metric import all_right, mean, mean_of
from evalkit.metrics.read_back import seen
from evalkit.records import Sample, Score
from evalkit.task import Task

FILE = "data/LMUData/HallusionBench.tsv"
PROMPT = judge_prompt("yes_no")
PARTS = (mean("aAcc"), all_right("fAcc", "figure"), all_right("qAcc", "question"))


def load(root: DataRoot) -> list[Sample]:
    """Read the rows; VLMEvalKit drops those without an image."""
    return unique(map(sample_of, lmu_rows(root, FILE)), FILE)


def sample_of(row: LmuRow) -> Sample:
    """Return one row as a sample; the questions and figures of a set are one group."""
    places = row.id.split("_")
    if len(places) < 6:
        raise UsageError(f"{row.where}: 'index' must have six parts, as VD_illusion_1_0_2_3, not {row.id!r}")
    kind = row.text("l2-category")
    group = f"{kind}_{places[3]}"
    keys = {"figure": f"{group}_figure_{places[4]}", "question": f"{group}_question_{places[5]}"}
    return Sample(
        row.id, row.text("question"), row.media, (row.text("answer"),) if "answer" in row.data else (), group,
        row.text("category"), keys=keys, more_subsets=(kind,),
    )  # fmt: skip


def score(sample: Sample, answer: str) -> Score:
    """Score an answer without a judge."""
    return judged(sample, match_yes_no(seen(answer)), careful_yes_no(answer))


def judged(sample: Sample, official: str | None, fixed: str | None) -> Score:
    """Score what was read officially and carefully."""
    gold = sample.references[0]
    return Score(float(official == gold), official, float(fixed == gold))


def ask(sample: Sample, answer: str) -> str | None:
    """Return what the judge is asked about an answer that is neither yes nor no."""
    given = seen(answer)
    return None if match_yes_no(given) else PROMPT.fill(question=seen(sample.question), prediction=given)


def read(sample: Sample, answer: str, reply: str) -> Score | None:
    """Read a reply as an answer; None if it is neither."""
    found = match_yes_no(reply)
    return judged(sample, found, careful_yes_no(answer) or found) if found else None


TASKS = (
    Task(
        name="hallusionbench", metrics=(mean_of("avg", PARTS), *PARTS), expected_n=951, files=(FILE,),
        load=load, score=score, judge=PROMPT.judge(ask, read, fallback=True),
        defects=("glued words lost", "words inside words", "xlsx round trip"),
        get="HallusionBench.tsv of VLMEvalKit's LMUData (opencompass.openxlab.space/utils/VLMEval)",
    ),
)  # fmt: skip
