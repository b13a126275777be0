"""Relaxed accuracy of ChartQA."""

from __future__ import annotations

TOLERANCE = 0.05


def relaxed_match(target: str, prediction: str) -> bool:
    """Return whether two answers agree: within 5 % of ``target`` if both are numbers, else as text.

    Source: the ChartQA evaluation copied by the official script (protocol sheet 6.2). The official script calls it
    with the *model's* answer as ``target``; here the caller decides. A target of zero is compared as text. A trailing
    ``%`` divides by 100; ``1,000`` is not a number.
    """
    wanted, given = _number(target), _number(prediction)
    if given is not None and wanted:
        return abs(given - wanted) / abs(wanted) <= TOLERANCE
    return prediction.lower() == target.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        return None
