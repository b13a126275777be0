"""MMMU's open answers: what an answer may mean, and whether it is right (protocol sheet 6.9)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What stands before an answer; the last sentence may be an equation.
_INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_EQUATION = "="
_TRIVIAL = frozenset(":,.!?;'")
# 1,000 | 1.5e3 | 1.5 and .5 and 15, none of them part of the other two. The look-behinds change no result: they only
# keep the search from starting again inside a long number.
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?(?<!\d)\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:(?<!\d)\d+\.\d+|\.\d+|(?<!\d)\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)


def open_match(answer: str, references: Iterable[str]) -> bool:
    """Return whether the official script counts an open answer as right.

    A reference that is a number must equal a number of the answer, both rounded to 2 decimals; any other must be
    contained in a text of the answer ("pi" is, in "the pixel").

    Args:
        answer: the model's text.
        references: gold answers.
    """
    gold = [meaning for reference in references for meaning in _normalised(reference)]
    texts = [text for text in gold if isinstance(text, str)]
    return any(
        any(text in meaning for text in texts) if isinstance(meaning, str) else meaning in gold
        for meaning in open_meanings(answer)
    )


def open_meanings(answer: str) -> list[str | float]:
    """Return the texts and numbers that an answer may mean, normalised: its key phrases and the numbers in them."""
    phrases = _key_phrases(answer.strip().strip(".").lower())
    numbers = [number for phrase in phrases for pattern in _NUMBERS for number in pattern.findall(phrase)]
    return [meaning for text in (*phrases, *numbers) for meaning in _normalised(text)]


def _key_phrases(answer: str) -> list[str]:
    """Return the shortest text after an indicator in each line; the whole answer if there is none.

    The official script means to split sentences too, before a capital, but there are none after lowering.
    """
    lines = answer.split("\n")
    phrases = []
    for number, line in enumerate(lines, start=1):
        indicators = (*_INDICATORS, _EQUATION) if number == len(lines) else _INDICATORS
        phrase = _shortest_tail(line, indicators)
        if phrase and phrase not in _TRIVIAL:
            phrases.append(phrase)
    return phrases or [answer]


def _shortest_tail(line: str, indicators: Sequence[str]) -> str:
    """Return the shortest text after the last place of an indicator, outer blanks removed; empty if there is none.

    An empty one is replaced by the next, as in the official loop.
    """
    shortest = ""
    for indicator in indicators:
        if indicator in line:
            tail = line.rpartition(indicator)[2].strip()
            if not shortest or len(tail) < len(shortest):
                shortest = tail
    return shortest


def _normalised(text: str) -> list[str | float]:
    """Return a number rounded to 2 decimals, or a lower-cased text; a single character only next to a blank."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]
