"""Extracting the option letter from a multiple-choice answer, the official ways and a careful one."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LEADING = re.compile(r"\s*\(?([A-Z])(?:\)|[.:,]|\s*$)")
_NAMED = re.compile(r"\b(?i:answer|option|choice)(?i:\s+is)?\s{0,8}:?\s{0,8}\(?([A-Z])\b(?!')")
_BRACKETED = re.compile(r"\(([A-Z])\)")
_ALONE = re.compile(r"(?<![\w'])([B-Z]|A(?! [a-z]))(?![\w'])")  # "A person" is an article


def first_letter_choice(answer: str, options: Mapping[str, str]) -> str:
    """Return the choice that the official MMBench/MMMU script reads from an answer (protocol sheet 6.9, 6.11).

    Stripped; one character stays as it is; a first character that is an option's letter wins ("Answer: B" gives
    ``A``); else the first option whose text the answer contains; else the raw answer. The official script crashes on an
    empty answer; here it stays empty, and so is wrong.

    Args:
        answer: the model's text.
        options: letter -> text, in order.
    """
    answer = answer.strip()
    if len(answer) <= 1:
        return answer
    if answer[0] in options:
        return answer[0]
    return next((letter for letter, text in options.items() if text in answer), answer)


def option_token_match(answer: str, gold: str) -> bool:
    """Return whether the official MVBench check counts an answer as right (protocol sheet 7.1).

    The first space-separated token without periods is accepted if it is contained in ``(a)``, or contains it; an empty
    answer is therefore always accepted.

    Args:
        answer: the model's text.
        gold: the gold letter, ``A`` ... .
    """
    token = answer.replace("Answer: ", "").lower().split(" ")[0]
    option = f"({gold.lower()})"
    return token.replace(".", "") in option or option in token


def careful_choice(answer: str, options: Mapping[str, str]) -> str | None:
    """Return the one letter an answer names, or None: the corrected reading behind ``fixed_score``.

    In this order: a letter that starts the answer as an option does ("B", "(B) walk", "B. walk"); a letter after
    "answer", "option" or "choice"; the only letter in round brackets; the only option whose text occurs; the only
    standalone capital.

    Args:
        answer: the model's text.
        options: letter -> text.
    """
    for pattern in (_LEADING.match, _NAMED.search):
        match = pattern(answer)
        if match and match[1] in options:
            return match[1]
    lowered = answer.casefold()
    candidates = (
        {letter for letter in _BRACKETED.findall(answer) if letter in options},
        {letter for letter, text in options.items() if text and text.casefold() in lowered},
        {letter for letter in _ALONE.findall(answer) if letter in options},
    )
    return next((letters.pop() for letters in candidates if len(letters) == 1), None)
