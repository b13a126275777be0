"""VLMEvalKit's matchers of multiple-choice and yes/no answers (VLMEvalKit sheet 3, 4), and careful ones.

They read an answer as it comes back from the xlsx file (see ``read_back``), and a judge's reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from string import ascii_uppercase

from evalkit.metrics.choice import careful_choice

FAILED = "Failed to obtain answer via API"  # what VLMEvalKit puts in place of an answer that it could not get
REFUSED = "Z"
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_BLANKED = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_GROUPED_DIGITS = re.compile(r"\d,\d")
# The lookbehind of the original is misspelt and never stops a match; the flag passed as the count allows 32 removals.
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS = 32

_LETTERS = dict.fromkeys(ascii_uppercase, "")
_CJK = re.compile("[\u4e00-\u9fff]")
_LETTER_ALONE = re.compile(r"[\W_]*([A-Za-z])[\W_]*")
_BETWEEN_SCRIPTS = re.compile("(?<=[\u4e00-\u9fff])(?=[A-Za-z])|(?<=[A-Za-z])(?=[\u4e00-\u9fff])")
_YES_OR_NO = re.compile(r"(?<![\w-])(?:yes|no)(?![\w-])", re.IGNORECASE)


def has_cjk(text: str) -> bool:
    """Return whether VLMEvalKit takes a text for Chinese: any character from U+4E00 to U+9FFF."""
    return _CJK.search(text) is not None


def match_option(answer: str, options: Mapping[str, str]) -> str | None:
    """Return the option that VLMEvalKit infers from an answer; ``Z`` for a refusal; None if it infers none.

    A refusal; the only option letter among the words ("A dog" is A); the word Z; the only option whose text, in any
    case, is part of the answer ("hotdog" holds "dog").

    Args:
        answer: as it is read back, or a judge's reply.
        options: letter -> text of the options that pandas does not read as missing.
    """
    if FAILED not in answer:
        if any(phrase in answer for phrase in _REFUSALS):
            return REFUSED
        words = answer.translate(_BLANKED).split()
        letters = [letter for letter in options if letter in words]
        if len(letters) == 1:
            return letters[0]
        if not letters and REFUSED in words:
            return REFUSED
    lowered = answer.lower()
    named = [letter for letter, text in options.items() if text.lower() in lowered]
    return named[0] if len(named) == 1 else None


def careful_option(answer: str, options: Mapping[str, str]) -> str | None:
    """Return the one option that an answer names, or None: ``careful_choice``, with two of its rules stricter or wider.

    A letter that stands alone may be quoted or lower-case ("b", '"B"', "B?"), letters may touch Chinese characters, and
    the text of an option counts only as whole words.
    """
    alone = _LETTER_ALONE.fullmatch(answer)
    if alone and alone[1].upper() in options:
        return alone[1].upper()
    whole = {letter: text if holds_words(answer, text) else "" for letter, text in options.items()}
    return careful_choice(_BETWEEN_SCRIPTS.sub(" ", answer), whole)


def careful_open(answer: str, golds: Iterable[str]) -> bool:
    """Return whether an answer holds a gold answer as whole words; a gold letter, as an answer names a choice."""
    letter = careful_option(answer, _LETTERS)
    return any(gold == letter if gold in _LETTERS else holds_words(answer, gold) for gold in golds)


def holds_words(text: str, words: str) -> bool:
    """Return whether a text holds some words in any case, not as part of another word or number."""
    pattern = rf"(?<![a-z0-9])(?<!\d[.,]){re.escape(words.casefold())}(?![a-z0-9])(?![.,]\d)"
    return re.search(pattern, text.casefold()) is not None


def match_yes_no(answer: str) -> str | None:
    """Return ``Yes`` or ``No`` as VLMEvalKit infers it from an answer's words, or None ("Unknown")."""
    lowered = shown = answer.lower()
    grouped = _GROUPED_DIGITS.search(lowered) is not None
    for mark in _PUNCTUATION:
        beside_blank = mark + " " in lowered or " " + mark in lowered
        shown = shown.replace(mark, "" if grouped or beside_blank else " ")
    words = _PERIOD.sub("", shown, count=_PERIODS).split()
    if ("yes" in words) == ("no" in words):
        return None
    return "Yes" if "yes" in words else "No"


def careful_yes_no(answer: str) -> str | None:
    """Return the first yes or no of an answer as a whole word ("no-one" is none), or None."""
    first = _YES_OR_NO.search(answer)
    return first[0].capitalize() if first else None
