"""What the official scorers of VLMEvalKit's image rows get wrong: the official and the fixed value of each quirk."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from evalkit.data.root import DataRoot
from evalkit.judging import Exchange, Judged, settle
from evalkit.metrics.matching import careful_option, careful_yes_no, match_option, match_yes_no
from evalkit.records import Outcome, Response, Sample, Score
from evalkit.scoring import score_task
from evalkit.task import Task
from tasks import hallusionbench, mathvista, mmvet_turbo, ocrbench, vlmevalkit_choice
from tests.vk_golden import TASKS

OPTIONS = {"A": "dog", "B": "red kite", "C": "3"}


def values(score: Score | None) -> tuple[float, float | None]:
    assert score is not None
    return score.value, score.fixed


def loaded(name: str, tmp_path: Path, **cells: str) -> Sample:
    """The sample of one row of a task's file."""
    task = TASKS[name]
    path = tmp_path / task.files[0]
    path.parent.mkdir(parents=True)
    path.write_text("\t".join(cells) + "\n" + "\t".join(cells.values()) + "\n", encoding="utf-8")
    (sample,) = task.load(DataRoot(tmp_path))
    return sample


# Multiple choice


@pytest.mark.parametrize(
    ("answer", "gold", "official", "fixed"),
    [
        ("A cat is shown", "A", 1, 0),  # an article is a choice
        ('"B"', "B", 0, 1),  # quoted, lower-case and glued letters are none
        ("b", "B", 0, 1),
        ("B?", "B", 0, 1),
        ("B。", "B", 0, 1),
        ("答案是B", "B", 0, 1),
        ("hotdogs", "A", 1, 0),  # text inside words
        ("about 13", "C", 1, 0),
        ("Sorry, I can't help with images of people yet. The answer is B", "B", 0, 1),
        ("=B", "B", 0, 1),  # the xlsx file
        ("B\r\n", "B", 0, 1),
        ("(B) red kite", "B", 1, 1),
        ("It is a RED kite.", "B", 1, 1),
    ],
)
def test_multiple_choice(answer: str, gold: str, official: float, fixed: float, tmp_path: Path) -> None:
    sample = loaded("realworldqa", tmp_path, index="1", question="What?", answer=gold, **OPTIONS)
    assert values(vlmevalkit_choice.score(sample, answer)) == (official, fixed)


def test_options_that_pandas_loses_are_in_neither_prompt_nor_official_score(tmp_path: Path) -> None:
    row = {"index": "105", "question": "How many?", "A": "One", "B": "Two", "C": "None", "answer": "C"}
    sample = loaded("realworldqa", tmp_path, **row)
    assert sample.question == "How many?\nA. One\nB. Two"
    assert values(vlmevalkit_choice.score(sample, "C. None")) == (0, 1)
    assert values(vlmevalkit_choice.score(sample, "None")) == (0, 1)  # lost on its way through the xlsx file, too
    assert "nan" in str(vlmevalkit_choice.ask(sample, "None"))


@pytest.mark.parametrize(
    ("gold", "answer", "official", "fixed"),
    [
        ("C", "C", 0, 1),  # a letter as gold answer of an open question
        ("B", "The answer is B.", 1, 1),
        ("B", "Other Answers", 1, 0),
        ("60", "160", 1, 0),  # text inside numbers
        ("['Tampa', 'Florida']", "In Florida", 0, 1),
        ("1/64", "It is 1/64 of it", 1, 1),
    ],
)
def test_open_questions_of_mmmu(gold: str, answer: str, official: float, fixed: float, tmp_path: Path) -> None:
    row = {"index": "1", "question": "What?", "split": "validation", "A": "", "B": "", "answer": gold}
    sample = loaded("mmmu_val_vlmevalkit", tmp_path, **row)
    assert (sample.form, sample.question) == ("open", "What?")
    assert values(vlmevalkit_choice.score(sample, answer)) == (official, fixed)


def test_the_fixed_score_takes_the_judges_choice_only_where_the_answer_names_none(tmp_path: Path) -> None:
    sample = loaded("mmstar", tmp_path, index="1", question="What?", answer="A", category="c", **OPTIONS)
    assert values(vlmevalkit_choice.read(sample, "some animal", "A")) == (1, 1)
    assert values(vlmevalkit_choice.read(sample, "b", "A")) == (1, 0)
    assert vlmevalkit_choice.read(sample, "some animal", "a or c") is None


def test_chinese_questions_have_their_own_suffix_and_judge_prompt(tmp_path: Path) -> None:
    sample = loaded("mmstar", tmp_path, index="1", question="What?", answer="A", category="c", A="狗", B="cat")
    assert sample.form == "choice_cn"  # the suffix goes by all of the text, the judge's prompt by the question
    assert str(vlmevalkit_choice.ask(sample, "?")).startswith("You are an AI assistant")


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("A dog", "A"),
        ("A B", None),
        ("Z", "Z"),
        ("Z or A", "A"),
        ("I can't process this file. A", "Z"),
        ("Failed to obtain answer via API A", None),
        ("Failed to obtain answer via API: red kite", "B"),
        ("[B]", "B"),
        ("D", None),
        ("dog on a red kite", None),
    ],
)
def test_the_official_matcher(answer: str, choice: str | None) -> None:
    assert match_option(answer, OPTIONS) == choice


# Yes and no


@pytest.mark.parametrize(
    ("answer", "gold", "official", "fixed"),
    [
        ("yes.Then", "Yes", 0, 1),  # glued words are lost
        ("Yes, no doubt", "Yes", 0, 1),
        ("no-one", "No", 1, 0),  # words inside words
        ("=Yes", "Yes", 0, 1),  # the xlsx file
        ("**No**", "No", 0, 1),
        ("It has 1,000; yes/indeed", "Yes", 0, 1),
        ("Yes.", "Yes", 1, 1),
        ("none", "No", 0, 0),
    ],
)
def test_yes_and_no(answer: str, gold: str, official: float, fixed: float) -> None:
    sample = Sample("1", "Is it?", (), (gold,), "1")
    assert values(hallusionbench.score(sample, answer)) == (official, fixed)


def test_the_fixed_yes_or_no_takes_the_judges_only_where_the_answer_has_neither() -> None:
    sample = Sample("1", "Is it?", (), ("Yes",), "1")
    assert values(hallusionbench.read(sample, "indeed", "Yes")) == (1, 1)
    assert values(hallusionbench.read(sample, "no.Yes", "Yes")) == (1, 0)
    assert hallusionbench.read(sample, "indeed", "yes or no") is None


# OCRBench


@pytest.mark.parametrize(
    ("gold", "answer", "official", "fixed"),
    [
        ("4", "1,42", 1, 0),  # short golds inside other words
        ("4", "1,4", 1, 0),
        ("4", "It is 4.", 1, 1),
        ("in", "Sink", 1, 0),
        ("inn", "Sinner", 1, 1),
        ("nan", "None", 1, 0),  # the xlsx file
        ("None", "None", 0, 1),
        (" ", "anything", 1, 0),  # blanks are in every answer
        ("Two\nLines", "two LINES", 1, 1),
    ],
)
def test_ocrbench(gold: str, answer: str, official: float, fixed: float) -> None:
    sample = Sample("1", "?", (), (gold,), "1", "Doc-oriented VQA")
    assert values(ocrbench.score(sample, answer)) == (official, fixed)


def test_formulas_keep_their_case_and_lose_blanks_only() -> None:
    sample = Sample("1", "?", (), ("X ^ 2",), "1", ocrbench.FORMULAS)
    assert values(ocrbench.score(sample, "x^2")) == (0, 0)
    assert values(ocrbench.score(sample, "so X\n^ 2")) == (1, 1)
    assert values(ocrbench.score(sample, "X\t^2")) == (0, 0)


# MathVista


def free_form(kind: str, gold: str, decimals: int = 9) -> Sample:
    return Sample("1", "?", (), (gold,), "1", "task", {"kind": kind, "options": {}, "decimals": decimals})


@pytest.mark.parametrize(
    ("sample", "answer", "reply", "official", "fixed"),
    [
        (free_form("integer", "0"), "0", "none", 0, 1),  # zero is not taken without the judge
        (free_form("integer", "0"), "0", "0", 1, 1),
        (free_form("list", "[2007, 2008]"), "between 2007 and 2008", "[2007, 2008]", 0, 1),  # lists
        (free_form("list", "[2007, 2008]"), "2007 to 2009", "[2007, 2009]", 0, 0),
        (free_form("integer", "14"), "fourteen", "14.0", 0, 1),  # integers as texts
        (free_form("integer", "1200"), "1,200", "?", 0, 1),
        (free_form("integer", "14"), "fourteen", "14.2", 0, 0),
        (free_form("float", "0.3", 1), "a third", "0.33", 0, 1),  # precision
        (free_form("float", "0.33", 2), "a third", "0.3", 0, 0),
        (free_form("integer", "7"), "=7", "none", 0, 1),  # the xlsx file
        (free_form("integer", "7"), "seven", " 7 ", 1, 1),
    ],
)
def test_mathvista(sample: Sample, answer: str, reply: str, official: float, fixed: float) -> None:
    assert mathvista.ask(sample, answer) is not None
    assert values(mathvista.read(sample, answer, reply)) == (official, fixed)


def test_mathvista_takes_an_option_or_the_gold_number_without_the_judge() -> None:
    choice = Sample("1", "?", (), ("A",), "1", "task", {"kind": "choice", "options": OPTIONS, "decimals": 9})
    for sample, answer, value in (
        (choice, "B", 0),
        (choice, "dog", 1),
        (free_form("integer", "7"), " +7\n", 1),
        (free_form("float", "1.5"), "1.50", 1),
    ):
        assert mathvista.ask(sample, answer) is None
        assert values(mathvista.score(sample, answer)) == (value, value)
    for sample, answer in ((choice, "A or B"), (free_form("integer", "7"), "8"), (free_form("integer", "7"), "7.0")):
        assert mathvista.ask(sample, answer) is not None


# MM-Vet


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("0.5", 0.5), (".7", 0.7), ("1e-1", 0.1), ("٠.٥", 0.5), ("-0", 0), ("0.5.", None), ("Score: 0.5", None),
        ("1.5", None), ("nan", None),
    ],
)  # fmt: skip
def test_grades_are_whole_numbers_in_range(reply: str, grade: float | None) -> None:
    score = mmvet_turbo.read(Sample("1", "?", (), ("x",), "1"), "x", reply)
    assert (score and score.value) == grade


@pytest.mark.parametrize(
    ("replies", "official", "fixed"),
    [
        (["Score: 0.5", "0.4"], 0.4, 0.5),
        (["0.5."] * 5, 0, 0.5),
        (["Correct", "0.4"], 0.4, 0.4),
        (["50%", "5/10", "1.5", "0.1 or 0.2", "none"], 0, 0),
        (["nan", "The grade is 1."] + ["?"] * 3, 0, 1),
    ],
)
def test_the_fixed_grade_may_stand_among_words(replies: list[str], official: float, fixed: float) -> None:
    task, sample = TASKS["mmvet_turbo"], Sample("1", "?", (), ("x",), "1", keys={"capabilities": "rec"})
    judged = Judged("scripted", {"1": Exchange(tuple(replies))})
    (line,) = score_task(task, [sample], {"1": Response("1", "x")}, judged).lines
    assert (line.value, line.fixed) == (official, fixed)
    assert (line.outcome is Outcome.UNJUDGED) == (official == 0)


# All


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_useless_replies_are_repeated_as_the_prompt_file_says(task: Task) -> None:
    if task.judge is None:
        return
    attempts = len(task.judge.temperatures)
    sample = Sample("1", "?", (), ("x",), "1", fields={"options": {"A": "x"}, "kind": "choice", "decimals": 9})
    failed = settle(task.judge, sample, "?", [None] * 100)
    useless = settle(task.judge, sample, "?", ["?!"] * 100)
    assert failed == (None, 5 * attempts, None)
    assert useless.used == (1 if task.name == "mathvista_testmini" else attempts)


@pytest.mark.parametrize(
    "text", ["(" * 20_000, "no-" * 10_000, "a " * 20_000, "1," * 20_000, "." * 50_000 + "x", "是A" * 9_000]
)
def test_long_answers_take_no_time(text: str) -> None:
    started = time.perf_counter()
    for read in (match_option, careful_option):
        read(text, OPTIONS)
    for read_word in (match_yes_no, careful_yes_no):
        read_word(text)
    mathvista.read(free_form("list", "[1, 2]"), text, text)
    ocrbench.score(Sample("1", "?", (), ("4",), "1", "Doc-oriented VQA"), text)
    assert time.perf_counter() - started < 2


def test_every_task_names_its_defects_and_its_file() -> None:
    assert all(task.defects for task in TASKS.values())
    assert json.dumps([task.get for task in TASKS.values()]).count("LMUData") == len(TASKS)
