"""Metrics: worked examples of the protocol, and properties on hostile answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics.anls import anls
from evalkit.metrics.boxes import fixed_box, iou, official_box, parse_box
from evalkit.metrics.choice import careful_choice, first_letter_choice, option_token_match
from evalkit.metrics.relaxed import relaxed_match
from evalkit.metrics.statistics import percentiles, resampled
from evalkit.metrics.sums import question_sums
from evalkit.metrics.vqa import normalise, vqa_accuracy

OPTIONS = {"A": "a red cube", "B": "the door", "C": "walk", "D": "Apple"}
TEXT = st.text(max_size=40)


@pytest.mark.parametrize(
    ("answer", "references", "value"),
    [
        ("0.28", ["0.28"], 1.0),
        ("  UNIVERSITY  of California ", ["university of california"], 1.0),
        ("abcd", ["abxy"], 0.5),
        ("abc", ["axy"], 0.0),
        ("", [""], 1.0),
        ("x", [], 0.0),
        # The raw length counts the folded blanks: distance 2 over 6, not over 4.
        ("ab   c", ["xy c"], 1 - 2 / 6),
    ],
)
def test_anls(answer: str, references: list[str], value: float) -> None:
    assert anls(answer, references) == pytest.approx(value, abs=1e-12)


def test_anls_fixed_takes_the_length_of_what_it_compared() -> None:
    assert anls("ab   c", ["xy c"], raw_length=False) == 0.5
    assert anls("ß", ["xx"]) == 0.0


@given(TEXT, st.lists(TEXT, min_size=1, max_size=4))
def test_anls_bounds_and_identity(answer: str, references: list[str]) -> None:
    assert 0.0 <= anls(answer, references) <= 1.0
    assert anls(references[0], references) == 1.0
    mended = anls(answer, references, raw_length=False)
    assert mended == 0.0 or 0.5 <= mended <= 1.0


@pytest.mark.parametrize(
    ("model", "gold", "right"),
    [
        ("95.2", "100", False),
        ("105.2", "100", True),
        ("105.3", "100", False),
        ("0", "0.0", False),
        ("50%", "50", False),
        ("50%", "0.5", True),
        ("1,000", "1000", False),
        ("yes", "Yes", True),
        ("yes.", "Yes", False),
        ("nan", "nan", False),
        ("1_000", "1000", True),
        ("inf", "INF", False),
        ("1e400", "inf", False),
        ("-0", "-0", True),
        ("１２", "12", True),
    ],
)
def test_relaxed_match_with_the_official_argument_order(model: str, gold: str, right: bool) -> None:
    assert relaxed_match(target=model, prediction=gold) is right


@given(TEXT)
def test_relaxed_match_is_reflexive_on_texts(text: str) -> None:
    try:
        float(text.rstrip("%"))
    except ValueError:
        assert relaxed_match(text, text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2.", "2"),
        ("2.5", "2.5"),
        ("3.a", "3a"),
        ("Coca-Cola", "coca cola"),
        ("a b-c", "b c"),
        ("1,000", "1000"),
        ("it's", "it 's"),
        ("dont", "don't"),
        ("." * 40, "." * 8),
        ("None of the ten", "0 of 10"),
        ("Im", "im"),
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),
    ],
)
def test_vqa_normaliser(text: str, shown: str) -> None:
    assert normalise(text) == shown


@pytest.mark.parametrize(("matches", "value"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_vqa_accuracy_by_number_of_matches(matches: int, value: float) -> None:
    references = ["Yes"] * matches + [f"other {number}" for number in range(10 - matches)]
    assert vqa_accuracy("yes", references) == pytest.approx(value, abs=1e-12)


@given(TEXT, st.lists(TEXT, min_size=10, max_size=10))
def test_vqa_accuracy_bounds(answer: str, references: list[str]) -> None:
    assert 0.0 <= vqa_accuracy(answer, references) <= 1.0


@pytest.mark.parametrize(
    ("answer", "official", "careful"),
    [
        ("B", "B", "B"),
        ("(B)", "(B)", "B"),
        ("B. the door", "B", "B"),
        ("Answer: B", "A", "B"),
        ("The answer is C", "The answer is C", "C"),
        ("I think the door", "B", "B"),
        ("", "", None),
        ("E", "E", None),
        ("Apple", "A", "D"),
        ("A person walks to the door", "A", None),
        ("Option (D)", "Option (D)", "D"),
    ],
)
def test_choice(answer: str, official: str, careful: str | None) -> None:
    assert first_letter_choice(answer, OPTIONS) == official
    assert careful_choice(answer, OPTIONS) == careful


@pytest.mark.parametrize("answer", ["", "(", ")", ".", "A", " B", "a)", "(a)x", "Answer: (A) walk", "A. walk"])
def test_mvbench_counts_these_right_for_a(answer: str) -> None:
    assert option_token_match(answer, "A")


@pytest.mark.parametrize("answer", ["The answer is A", "Option A", "B", "(B)"])
def test_mvbench_counts_these_wrong_for_a(answer: str) -> None:
    assert not option_token_match(answer, "A")


OFFICIAL_BOX = re.compile(r"\[*\[(.*?),(.*?),(.*?),(.*?)\]\]*")


@given(st.text(alphabet="[],1. \nx", max_size=30))
def test_box_parser_equals_the_official_pattern(answer: str) -> None:
    found = OFFICIAL_BOX.search(answer)
    try:
        expected = tuple(float(text) for text in found.groups()) if found else None
    except ValueError:
        expected = None
    parsed = parse_box(answer)
    assert (parsed.values if parsed else None) == expected


def test_boxes() -> None:
    assert official_box(parse_box("red[[100, 200, 300, 400]]"), 1000, 500) == pytest.approx((100, 100, 300, 200))
    assert official_box(None, 640, 480) == (0, 0, 0, 0)
    # Sum under 4: taken for fractions of the image, officially.
    assert official_box(parse_box("[0, 0, 1, 1]"), 640, 480) == (0, 0, 640, 480)
    # The rule is the sum, not the largest number: 3 counts as three times the width here, and 4 ones as thousandths.
    assert official_box(parse_box("[0, 0, 3, 0.5]"), 100, 100) == (0, 0, 300, 50)
    assert official_box(parse_box("[1, 1, 1, 1]"), 1000, 1000) == pytest.approx((1, 1, 1, 1))
    assert fixed_box(parse_box("[0, 0, 1, 1]"), 1000, 1000) == (0, 0, 1, 1)
    assert fixed_box(parse_box("[0.1, 0.2, 0.3, 0.4]"), 100, 100) == pytest.approx((10, 20, 30, 40))
    assert fixed_box(parse_box("[300, 400, 100, 200]"), 1000, 1000) == (100, 200, 300, 400)
    assert iou((0, 0, 10, 10), (0, 0, 10, 5)) == 0.5
    assert not iou((0, 0, float("nan"), 10), (0, 0, 10, 5)) >= 0.5


BOX = st.tuples(*[st.floats(0, 1000, width=32)] * 4).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@given(BOX, BOX)
def test_iou_is_symmetric_and_bounded(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> None:
    value = iou(first, second)
    assert value == iou(second, first) or value != value
    assert value != value or 0 <= value <= 1.000001


def test_iou_agrees_with_pycocotools() -> None:
    mask = pytest.importorskip("pycocotools.mask")
    first, second = (10.0, 20.0, 110.0, 220.0), (60.0, 50.0, 160.0, 250.0)
    boxes = [[[b[0], b[1], b[2] - b[0], b[3] - b[1]]] for b in (first, second)]
    assert iou(first, second) == pytest.approx(float(mask.iou(*boxes, [0])[0][0]), abs=1e-6)


HOSTILE = [
    "[" * 100_000,
    "." * 100_000,
    "[1," * 50_000,
    "(" * 100_000,
    "A " * 50_000,
    "answer" * 20_000,
    "option  :" * 9_999,
]


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda text: text[:8])
@pytest.mark.parametrize(
    "score",
    [
        lambda text: anls(text, ["0.28"]),
        lambda text: relaxed_match(text, "12"),
        lambda text: vqa_accuracy(text, ["yes"] * 10),
        lambda text: first_letter_choice(text, OPTIONS),
        lambda text: careful_choice(text, OPTIONS),
        lambda text: option_token_match(text, "B"),
        lambda text: parse_box(text),
    ],
)
def test_hostile_answers_score_in_under_a_second(score: Callable[[str], object], answer: str) -> None:
    started = time.perf_counter()
    score(answer)
    assert time.perf_counter() - started < 1


def test_bootstrap_is_repeatable_and_widens_with_clusters() -> None:
    alone = [(str(number), float(number % 2)) for number in range(400)]
    paired = [(str(number // 8), float(number // 8 % 2)) for number in range(400)]
    first, again = (resampled({"t": question_sums(alone)}) / 100 for _ in range(2))
    assert (first == again).all()
    low, high = percentiles(first)
    # The normal approximation of a mean of 400 coin flips.
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.004)
    wide_low, wide_high = percentiles(resampled({"t": question_sums(paired)}) / 100)
    assert wide_high - wide_low > 2 * (high - low)


def test_bootstrap_draws_shared_clusters_together() -> None:
    task = question_sums((str(number), float(number % 2)) for number in range(200))
    apart = resampled({"a": task, "b": task}, lambda values: values["a"] - values["b"])
    assert (apart == 0).all()
