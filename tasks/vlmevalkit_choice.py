"""Multiple choice as VLMEvalKit asks and scores it: RealWorldQA, MMStar, AI2D, MMBench V1.1 test and MMMU validation.

Official data: ``data/LMUData/NAME.tsv`` (VLMEvalKit sheet 1-3, 11; protocol sheet 6.7, 6.10, 6.17). A judge is asked
only where the matcher infers no option, else such an answer is wrong; after three useless replies the official code
draws an option at random, and here the answer is wrong. A question of MMBench counts if all its rotations are right;
the judge is asked about each one without an inferred option, not only until one is wrong.

Officially an open question of MMMU becomes a choice between its gold answer and "Other Answers". ``fixed`` looks for
the gold answer, and reads choices carefully, with the options that pandas loses ("None").
"""

from __future__ import annotations

from functools import partial
from string import ascii_uppercase

from evalkit.data.lmu import LmuRow, lmu_rows
from evalkit.data.readers import unique
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.judge_prompts import judge_prompt
from evalkit.metrics.matching import careful_open, careful_option, has_cjk, match_option
from evalkit.metrics.read_back import seen
from evalkit.records import Sample, Score
from evalkit.task import Task

ROTATION = 1_000_000
SPLITS = ("dev", "validation")
# How the official report calls MMBench's abilities.
ABBREVIATIONS = {
    "coarse_perception": "CP", "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C", "logic_reasoning": "LR", "relation_reasoning": "RR",
    "attribute_reasoning": "AR",
}  # fmt: skip
DEFECTS = ("article A", "quoted and lower-case letters", "text inside words", "'None' options lost", "xlsx round trip")
PROMPT, PROMPT_CN = judge_prompt("mcq"), judge_prompt("mcq_cn")


def load(root: DataRoot, *, file: str, circular: bool = False, recast: bool = False) -> list[Sample]:
    """Read the rows of one file; circular: rows are rotations of a question; recast: MMMU, validation only."""
    rows = (row for row in lmu_rows(root, file) if not recast or row.among("split", SPLITS) == "validation")
    return unique((sample_of(row, circular, recast) for row in rows), file)


def sample_of(row: LmuRow, circular: bool, recast: bool) -> Sample:
    """Return one row as a sample, its question with hint and options as the model is shown them."""
    shown = {name: row.data[name] for name in ascii_uppercase if name in row.data}
    hint = row.data["hint"] + "\n" if "hint" in row.data else ""
    question = hint + row.text("question") + "".join(f"\n{name}. {text}" for name, text in shown.items())
    gold = row.data.get("answer", "")
    options = {name: seen(text) for name, text in shown.items()}
    if recast and "A" not in shown:
        options = {"A": seen(gold), "B": "Other Answers"} | {name: options[name] for name in options if name > "B"}
    letter = "A" if recast and gold not in tuple(ascii_uppercase) else gold
    lost = {name: row.lost[name] for name in ascii_uppercase if name in row.lost}
    fields = {"options": options, "letter": letter, "question": seen(row.text("question")), "intended": shown | lost}
    group = rotated(row) if circular else row.data.get("image_path", row.id)
    golds, ability = tuple(row.entries("answer", strict=False)) if gold else (), row.data.get("l2-category")
    return Sample(
        row.id, question, row.media, golds, group, row.data.get("category"), fields,
        more_subsets=(ABBREVIATIONS.get(ability, ability),) if ability else (),
        form=("choice" if shown else "open") + ("_cn" if has_cjk(question) else ""),
    )  # fmt: skip


def rotated(row: LmuRow) -> str:
    """Return the question of which a row is a rotation."""
    if not (row.id.isascii() and row.id.isdecimal() and len(row.id) < 18):
        raise UsageError(f"{row.where}: 'index' must be a number, not {row.id!r}")
    return str(int(row.id) % ROTATION)


def score(sample: Sample, answer: str) -> Score:
    """Score an answer without a judge."""
    return judged(sample, answer, match_option(seen(answer), sample.fields["options"]))


def judged(sample: Sample, answer: str, choice: str | None, helped: str | None = None) -> Score:
    """Score the inferred choice; the fixed score takes that of a judge only if the answer itself names none."""
    intended, golds = sample.fields["intended"], sample.references
    named = (careful_option(answer, intended) or helped) in golds
    fixed = named if intended else careful_open(answer, golds) or helped == "A"
    return Score(float(choice == sample.fields["letter"]), choice, float(fixed))


def ask(sample: Sample, answer: str) -> str | None:
    """Return what the judge is asked about an answer without an inferred option, in the language of the question."""
    given, options, question = seen(answer), sample.fields["options"], sample.fields["question"]
    if match_option(given, options):
        return None
    listed = "There are several options: \n" + "".join(f"{letter}. {text}\n" for letter, text in options.items())
    return (PROMPT_CN if has_cjk(question) else PROMPT).fill(question=question, options=listed, prediction=given)


def read(sample: Sample, answer: str, reply: str) -> Score | None:
    """Read a reply as an answer; None if no option can be inferred."""
    choice = match_option(reply, sample.fields["options"])
    return judged(sample, answer, choice, choice) if choice else None


def task(name: str, file: str, expected_n: int | None, *, circular: bool = False, recast: bool = False) -> Task:
    """Return the task of one TSV."""
    path = f"data/LMUData/{file}.tsv"
    return Task(
        name=name, metric="circular_accuracy" if circular else "accuracy", expected_n=expected_n, files=(path,),
        load=partial(load, file=path, circular=circular, recast=recast), score=score,
        unit=(lambda sample: sample.group) if circular else None, judge=PROMPT.judge(ask, read, fallback=True),
        defects=DEFECTS + (("letter golds of open questions",) if recast else ()),
        get=f"{file}.tsv of VLMEvalKit's LMUData (opencompass.openxlab.space/utils/VLMEval), with answers",
    )  # fmt: skip


TASKS = (
    task("realworldqa", "RealWorldQA", 765),
    task("mmstar", "MMStar", 1500),
    task("ai2d_test_vlmevalkit", "AI2D_TEST", 3088),
    task("mmmu_val_vlmevalkit", "MMMU_DEV_VAL", 900, recast=True),
    task("mmbench_test_en_v11", "MMBench_TEST_EN_V11", None, circular=True),
    task("mmbench_test_cn_v11", "MMBench_TEST_CN_V11", None, circular=True),
)
