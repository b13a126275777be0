"""What the official scorers of the video rows get wrong: the official and the fixed value of each quirk."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.judging import settle
from evalkit.records import Outcome, Response, Sample
from evalkit.scoring import score_task
from tasks import mmbench_video, videomme

RATED, CHOICE = mmbench_video.TASKS[0], videomme.TASKS[0]


def sample_with(gold: str, name: str = "0") -> Sample:
    return Sample(name, "What?", (), (gold,), "video", "short", {"question": "What?"})


@pytest.mark.parametrize(
    ("reply", "official", "fixed"),
    [
        ("3", 3, 3),
        (" \n+2\t", 2, 2),
        ("5", 5, 0),  # no range check
        ("1_0", 10, 0),
        ("00", 0, 0),
        ("Rating: 2", 0, 2),  # integer literals alone are ratings
        ("03", 0, 0),
        ("3.", 0, 3),
        ("1.0", 0, 1),
        ("2 out of 3", 0, 2),
        ('"2"', 0, 2),
        ("(2)", 0, 2),  # these end the official scorer
        ("2 # ok", 0, 2),
        ("1+1", 0, 1),
    ],
)
def test_mmbench_video_reads_ratings_as_integer_literals(reply: str, official: int, fixed: int) -> None:
    score = mmbench_video.read(sample_with("A kite."), "kite", reply)
    assert (official, fixed) == (0, 0) if score is None else (score.value * 3, score.fixed) == (official, fixed / 3)


@pytest.mark.parametrize(
    "reply", ["True", "0x3", "exit()", "two", "-1", "2.5", "None", "٣", "1" * 400, "9" * 16, " ", "10 points"]
)
def test_other_replies_are_no_ratings_and_are_never_run(reply: str) -> None:
    assert mmbench_video.read(sample_with("A kite."), "kite", reply) is None


def test_failed_requests_to_the_judge_are_repeated_and_useless_replies_are_not() -> None:
    judge, sample = RATED.judge, sample_with("A kite.")
    assert judge is not None
    settled = settle(judge, sample, "kite", [None, "", None, "", "2"])
    assert settled.used == 5 and settled.score is not None and settled.score.value * 3 == 2
    assert settle(judge, sample, "kite", ["two", "2"]) == (None, 1, None)
    assert settle(judge, sample, "kite", [None] * 4).attempt == 0


@pytest.mark.parametrize(
    ("answer", "gold", "fixed"), [("None", "none", 1), ("N/A", "N/A.", 1), ("None", "A kite.", 0), ("", "A kite.", 0)]
)
def test_mmbench_video_sends_no_answer_that_xlsx_loses(answer: str, gold: str, fixed: float) -> None:
    sample = sample_with(gold)
    assert mmbench_video.ask(sample, answer) is None
    found = score_task(RATED, [sample], {"0": Response("0", answer)})
    assert (found.lines[0].value, found.lines[0].fixed) == (0, fixed)
    assert found.lines[0].outcome is Outcome.UNPARSED


def test_the_judge_sees_a_formula_as_its_value() -> None:
    assert mmbench_video.ask(sample_with("3"), "=3") == (
        "Question: What?\nGroundtruth answer: 3\nCandidate answer: 0\nYour response: "
    )


@pytest.mark.parametrize(
    ("answer", "gold", "official", "fixed"),
    [
        ("B", "B", 1, 1),
        ("The best answer is: B.", "B", 1, 1),
        ("Answer: C", "C", 1, 1),
        ("Best answer: C", "C", 0, 1),  # glued prefixes
        ("Best option: D", "D", 0, 1),
        ("Correct: C", "C", 1, 1),
        ("Because of the dog", "B", 1, 0),  # letters inside words
        ("Apple", "A", 1, 0),
        ("DCBA", "D", 1, 0),
    ],
)
def test_video_mme_takes_the_first_capital(answer: str, gold: str, official: int, fixed: int) -> None:
    score = videomme.score(sample_with(gold), answer)
    assert (score.value, score.fixed) == (official, fixed)


def test_video_mme_loses_refusals_from_the_mean() -> None:
    samples = [sample_with("B", str(index)) for index in range(4)]
    answers = ["B", "C", "no idea", "apple"]
    found = score_task(CHOICE, samples, {str(i): Response(str(i), answer) for i, answer in enumerate(answers)}).summary
    assert (found.score, found.fixed_score, found.n) == (50, 25, 4)
    assert found.subsets["short"]["score"] == 50


def test_a_cut_answer_without_a_letter_leaves_the_mean_and_a_failure_does_not() -> None:
    samples = [sample_with("B", str(index)) for index in range(3)]
    responses = {
        "0": Response("0", "B"),
        "1": Response("1", "the person in the", Outcome.TRUNCATED),
        "2": Response("2", "", Outcome.MEDIA_ERROR, reason="absent"),
    }
    assert score_task(CHOICE, samples, responses).summary.score == 50


@pytest.mark.parametrize("answer", ["", "None", "N/A", "=A", "{=B}"])
def test_what_ends_the_official_scorer_of_video_mme_counts_wrong(answer: str) -> None:
    samples = [sample_with("B", "0"), sample_with("B", "1")]
    found = score_task(CHOICE, samples, {"0": Response("0", "B"), "1": Response("1", answer)})
    assert found.summary.score == 50 and found.lines[1].value == 0
    assert score_task(CHOICE, samples, {"0": Response("0", "B"), "1": Response("1", "0")}).summary.score == 100


@pytest.mark.parametrize("dimensions", ["[]", "['OCR', 'Smell']", "OCR, Counting"])
def test_unknown_dimensions_of_mmbench_video_are_named(dimensions: str, tmp_path: Path) -> None:
    file = tmp_path / "data" / "LMUData" / "MMBench-Video" / "MMBench-Video.tsv"
    file.parent.mkdir(parents=True)
    file.write_text(f"index\tvideo\tquestion\tanswer\tdimensions\n0\tv\tWhat?\tNone\t{dimensions}\n")
    with pytest.raises(UsageError, match="row 1: 'dimensions' must name"):
        mmbench_video.load(DataRoot(tmp_path))


def test_a_gold_answer_that_pandas_loses_is_shown_to_the_judge_as_nan(tmp_path: Path) -> None:
    file = tmp_path / "data" / "LMUData" / "MMBench-Video" / "MMBench-Video.tsv"
    file.parent.mkdir(parents=True)
    file.write_text("index\tvideo\tquestion\tanswer\tdimensions\n0\tv\tHow many?\tNone\t['Counting']\n")
    (sample,) = mmbench_video.load(DataRoot(tmp_path))
    assert "Groundtruth answer: nan\n" in (mmbench_video.ask(sample, "2") or "")
