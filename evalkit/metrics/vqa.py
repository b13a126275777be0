"""VQA accuracy of TextVQA, with the normaliser of the official (pythia/M4C) scorer."""

from __future__ import annotations

import re
from collections.abc import Sequence

ANSWERS = 10

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
# The sheet's rule 3: the misspelt lookbehind never stops a match, so only a following digit protects a period;
# the flag passed as the count allows 32 removals.
_OFFICIAL_PERIOD = re.compile(r"\.(?!\d)")
_OFFICIAL_REMOVALS = int(re.UNICODE)
_INTENDED_PERIOD = re.compile(r"(?<!\d)\.(?!\d)")

_CONTRACTED = (  # noqa: SIM905  (140 quoted words would hide the list)
    """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
).split()


def _contractions() -> dict[str, str]:
    """Map each contraction without one of its apostrophes to the whole one (capitalised keys can never match)."""
    whole = {
        word[:index] + word[index + 1 :]: word
        for word in _CONTRACTED
        for index, letter in enumerate(word)
        if letter == "'"
    }
    return whole | {"somebody'd": "somebodyd"}  # the wrong way round in the official table


_CONTRACTIONS = _contractions()


def normalise(text: str, *, official_periods: bool = True) -> str:
    """Return an answer as the official scorer compares it (protocol sheet 6.4, rules 1-4).

    Args:
        text: an answer.
        official_periods: the official period rule, at most 32 periods and none before a digit; False takes the
            intended one: every period that is not next to a digit.
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    shown = text
    for mark in _PUNCTUATION:
        beside_space = mark + " " in text or " " + mark in text
        shown = shown.replace(mark, "" if beside_space else " ")
    shown = (
        _OFFICIAL_PERIOD.sub("", shown, count=_OFFICIAL_REMOVALS)
        if official_periods
        else _INTENDED_PERIOD.sub("", shown)
    )
    words = (_NUMBER_WORDS.get(word, word) for word in shown.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(answer: str, references: Sequence[str], *, official_periods: bool = True) -> float:
    """Return the accuracy of an answer against ten human answers, 0..1.

    Each human answer in turn is left out, and min(1, matches among the others / 3) is averaged (protocol sheet 6.4).

    Args:
        answer: the model's text.
        references: the human answers.
        official_periods: see ``normalise``.
    """
    given = normalise(answer, official_periods=official_periods)
    golds = [normalise(reference, official_periods=official_periods) for reference in references]
    matches = golds.count(given)
    left_out_match = matches * min(1.0, (matches - 1) / 3)
    left_out_other = (len(golds) - matches) * min(1.0, matches / 3)
    return (left_out_match + left_out_other) / len(golds) if golds else 0.0
