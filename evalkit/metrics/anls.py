"""ANLS: average normalised Levenshtein similarity of DocVQA and InfoVQA."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from evalkit.records import Sample, Score

THRESHOLD = 0.5


def score_anls(sample: Sample, answer: str) -> Score:
    """Score an answer by ANLS; the fixed value divides by the length of the strings that are compared."""
    fixed = anls(answer, sample.references, raw_length=False)
    return Score(anls(answer, sample.references), answer.strip() or None, fixed)


def anls(answer: str, references: Sequence[str], *, raw_length: bool = True) -> float:
    """Return the similarity of an answer to its closest reference, 0..1.

    Source: the official InfographicVQA/DocVQA scorer (protocol sheet 6.1). Both strings are stripped,
    lower-cased and their whitespace collapsed; 1 - distance/length for the best reference; values below 0.5 become 0.

    Args:
        answer: the model's text.
        references: gold answers; none gives 0.
        raw_length: the official quirk: the length is that of the longer *raw* string, after ``upper()``. False takes
            the strings that are compared.
    """
    if not references:
        return 0.0
    value = 1.0 - min(_distance(answer, reference, raw_length) for reference in references)
    return 0.0 if value < THRESHOLD else value


def _distance(answer: str, reference: str, raw_length: bool) -> float:
    texts = [" ".join(text.strip().lower().split()) for text in (reference, answer)]
    measured = [reference.upper(), answer.upper()] if raw_length else texts
    length = max(len(text) for text in measured)
    return Levenshtein.distance(texts[0], texts[1]) / length if length else 0.0
