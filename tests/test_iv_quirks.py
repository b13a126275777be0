"""Each quirk of the scorers from the InternVL repository: the official value, and the fixed one where it differs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics import mmmu
from evalkit.metrics.mmmu import open_match, open_meanings
from evalkit.plugins import load_tasks
from evalkit.records import Media, Outcome, Response, Sample, Score
from evalkit.scoring import score_task
from evalkit.summary import TaskSummary

OPTIONS = {"A": "a cat", "B": "a dog", "C": "a cat and a dog", "D": "none"}


def a_sample(*gold: str, form: str = "", **fields: object) -> Sample:
    return Sample("0", "?", (Media("data/a.png"),), gold, "data/a.png", fields={"options": OPTIONS} | fields, form=form)


def score_of(task: str, answer: str, sample: Sample) -> Score:
    return load_tasks()[task].score(sample, answer)


def both(task: str, answer: str, sample: Sample) -> tuple[float, float | None]:
    score = score_of(task, answer, sample)
    return score.value, score.fixed


# InfoVQA


@pytest.mark.parametrize(
    ("answer", "gold", "official", "fixed"),
    [
        ("cart     ", "cat", 1 - 1 / 9, 1 - 1 / 4),
        ("Mas", "Maß", 1 - 1 / 4, 1 - 1 / 3),  # the length is that of "MASS"
        ("cat", "cat", 1, 1),
    ],
)
def test_infovqa_divides_by_the_raw_length(answer: str, gold: str, official: float, fixed: float) -> None:
    assert both("infovqa_val", answer, a_sample(gold)) == pytest.approx((official, fixed))


# AI2D


@pytest.mark.parametrize("answer", ["B", "b", " B\n", "B\u00a0", "\u3000B"])
def test_ai2d_takes_the_letter_alone(answer: str) -> None:
    assert both("ai2d_test", answer, a_sample("B")) == (1, 1)


@pytest.mark.parametrize("answer", ["B.", "(B)", "B. a dog", "Answer: B", "The answer is B."])
def test_ai2d_takes_nothing_else(answer: str) -> None:
    assert both("ai2d_test", answer, a_sample("B")) == (0, 1)


@pytest.mark.parametrize("answer", ["\u0412", "", "C", "A dog is a B-movie hero; (C)"])
def test_ai2d_wrong_by_any_reading(answer: str) -> None:
    assert both("ai2d_test_no_mask", answer, a_sample("B")) == (0, 0)


def test_ai2d_takes_the_best_of_several_gold_answers() -> None:
    sample = a_sample("D", "dx")
    assert [score_of("ai2d_test", answer, sample).value for answer in ("d", "DX", "x")] == [1, 1, 0]


def test_ai2d_options_may_have_line_breaks_and_be_empty() -> None:
    question = (
        "Which\nA. one?\nA. two\nlines\nB. \nC. A. x\nAnswer with the option's letter from the given choices directly."
    )
    task = load_tasks()["ai2d_test"]
    options_of = task.score.__globals__["options_of"]
    assert options_of(question) == {"A": "two\nlines", "B": "", "C": "A. x"}
    assert options_of("no options") == {}


# MME


@pytest.mark.parametrize(
    ("answer", "label", "careful"),
    [
        ("Yes", "yes", "yes"),
        ("不是不是", "no", "no"),
        ("是否", "yes", None),
        ("是的", "yes", "yes"),
        ("中国 yes", "yes", "yes"),
        ("真", None, None),
        ("falsehood", "no", None),
        ("untrue", None, None),
        ("True", "yes", "yes"),
        ("I know", None, None),
        ("know", "no", None),
        ("not sure", "no", None),
        ("Noon", "no", None),
        ("canoe", "no", None),
        ("eyes", "yes", None),
        ("Answer: yes", None, "yes"),
        ("(No)", "no", "no"),
        ("ＹＥＳ", None, None),
        (" yes", "yes", "yes"),
        ("  yes", None, "yes"),
        ("Yes, there is no cat", "yes", None),
        ("y\nes", "yes", None),
        ("yes\r", "yes", "yes"),
        ("yes\r\n", "yes", "yes"),
        ("yes\rno", None, None),
        ("", None, None),
    ],
)
def test_mme_reads_four_characters(answer: str, label: str | None, careful: str | None) -> None:
    score = score_of("mme", answer, a_sample("yes"))
    assert (score.value, score.answer, score.fixed) == (float(label == "yes"), label, float(careful == "yes"))
    assert both("mme", answer, a_sample("no")) == (float(label == "no"), float(careful == "no"))


def mme(answers: Sequence[str | Outcome]) -> TaskSummary:
    """The score of one of MME's tasks: two pictures, each with a question for yes and one for no."""
    samples, responses = [], {}
    for place, answer in enumerate(answers):
        image = f"OCR/{place // 2}"
        gold = ("yes", "no")[place % 2]
        keys = {"task": "OCR", "image": image}
        samples.append(Sample(str(place), "?", (), (gold,), image, "OCR", keys=keys))
        text, outcome = ("", answer) if isinstance(answer, Outcome) else (answer, Outcome.OK)
        responses[str(place)] = Response(str(place), text, outcome)
    return score_task(load_tasks()["mme"], samples, responses).summary


def test_mme_leaves_an_answer_with_a_tab_out_of_the_accuracy_but_not_of_the_pairs() -> None:
    found = mme(["yes", "no", "yes\t", "no"])
    assert found.score == pytest.approx(100 * 3 / 3 + 100 * 1 / 2)
    assert found.fixed_score == 200
    assert found.n == 4


def test_mme_keeps_failed_samples_and_carriage_returns_in_the_accuracy() -> None:
    for wrong in (Outcome.MEDIA_ERROR, Outcome.MISSING, "yes\r\r"):
        assert mme(["yes", "no", wrong, "no"]).score == pytest.approx(100 * 3 / 4 + 100 * 1 / 2)


# MMMU


@pytest.mark.parametrize(
    ("answer", "choice", "fixed"),
    [
        ("B", "B", 1),
        ("Answer: B", "A", 1),
        ("It is a dog", "B", 1),
        ("Both: a cat and a dog", "B", 0),  # the first letter; a careful reader finds three options
        ("(B)", None, 1),
        ("b", None, 0),
        ("Definitely", "D", 0),
        ("I see a cat and a dog", "A", 0),  # the first option whose text is in it
        ("Z", None, 0),
        ("", None, 0),
        ("  ", None, 0),
    ],
)
def test_mmmu_choice_is_the_first_letter_or_the_first_text(answer: str, choice: str | None, fixed: float) -> None:
    score = score_of("mmmu_val", answer, a_sample("B", form="choice"))
    assert (score.value, score.answer, score.fixed) == (float(choice == "B"), choice, fixed)
    assert bool(score.reason) is not bool(answer.strip()), "the official script crashes on an empty answer"


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("c", ("C",), True),
        ("option C", ("C",), True),
        ("cat", ("C",), False),
        ("about 4.001 m", ("4",), True),
        ("4.01", ("4",), False),
        ("3.43", ("24/7", "3.429"), True),
        ("3.43", ("24/7",), False),
        ("833.3", ("8.333e2",), True),
        ("the pixel", ("pi",), True),
        ("not yes", ("Yes",), True),
        ("$1,000", ("1000",), True),
        ("-.5", ("0.5",), False),
        ("so 12 = 5", ("12",), False),  # the equation ends the last line: 5
        ("so 12 = 5\nreally", ("12",), True),
        ("it is x =", ("it",), True),  # nothing follows the last indicator: all of it counts
        ("a. B is Paris", ("Paris",), True),  # sentences are not split: no capital is left
        ("the answer is: .", ("is",), True),  # nothing but ":" follows, so all of it counts
        ("a\na", ("a",), False),  # a single character counts next to a blank only
        ("", ("x",), False),
        ("nan", ("nan",), False),
    ],
)
def test_mmmu_open_answers(answer: str, gold: tuple[str, ...], right: bool) -> None:
    assert open_match(answer, gold) is right
    score = score_of("mmmu_val", answer, a_sample(*gold, form="open"))
    assert score == Score(float(right), answer.strip() or None)


def test_mmmu_open_answers_have_texts_and_numbers() -> None:
    found = open_meanings("So it is 1,234.5 or 2.5e3.")
    assert found == ["1,234.5 or 2.5e3", 1234.0, 2500.0, 234.5, 2.0, 3.0], "parts of numbers count too"
    assert open_meanings("x = 7%") == ["7%", 7.0]


@given(st.text("0123456789.,eE+- a", max_size=30))
def test_mmmu_numbers_are_found_as_without_the_look_behinds(text: str) -> None:
    for pattern in mmmu._NUMBERS:
        assert pattern.findall(text) == re.findall(pattern.pattern.replace(r"(?<!\d)", ""), text)


def test_mmmu_reads_a_long_number_at_once() -> None:
    assert not open_match("1" * 200_000 + "a", ["2"])


# SEED


@pytest.mark.parametrize(
    ("answer", "official", "fixed"),
    [
        ("B", 1, 1),
        ("B. a dog", 1, 1),
        ("Because of the cat", 1, 0),
        (" B", 0, 1),
        ("(B)", 0, 1),
        ("The answer is B", 0, 1),
        ("b", 0, 0),
        ("", 0, 0),
    ],
)
def test_seed_takes_the_first_character(answer: str, official: float, fixed: float) -> None:
    assert both("seed_image", answer, a_sample("B", own="B")) == (official, fixed)


def test_seed_scores_a_repeated_id_by_the_last_gold_answer() -> None:
    first = a_sample("B", own="C")
    assert both("seed_image", "B", first) == (1, 0)
    assert both("seed_image", "C", first) == (0, 1)


# MM-Vet


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        (".3", 0.3),
        ("1e-1", 0.1),
        ("+0.7", 0.7),
        ("-0", 0.0),
        ("0.7\n", 0.7),
        ("0.8 because", 0.8),
        (" 0.4", None),
        ("1.0.", None),
        ("0,5", None),
        ("1/2", None),
        ("1.1", None),
        ("nan", None),  # officially a grade, after which the score is no number
    ],
)
def test_mmvet_reads_a_grade(reply: str, grade: float | None) -> None:
    judge = load_tasks()["mmvet"].judge
    assert judge is not None
    score = judge.read(a_sample("x"), "an answer", reply)
    assert (score.value if score else None) == grade


def test_a_grade_has_no_other_reading() -> None:
    tasks = load_tasks()
    fixed = ("infovqa_val", "ai2d_test", "ai2d_test_no_mask", "mme", "mmmu_val", "seed_image")
    assert all(tasks[name].defects for name in fixed) and not tasks["mmvet"].defects
