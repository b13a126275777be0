"""What VLMEvalKit's scorers see of an answer: it goes through an xlsx file first (VLMEvalKit sheet 1)."""

from __future__ import annotations

import re

# The texts that pandas (2.0 and later) reads as a missing value, in a TSV as in an xlsx file.
MISSING = frozenset(
    {
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
        "NULL", "NaN", "None", "n/a", "nan", "null",
    }
)  # fmt: skip
# How most scorers write a missing value.
NAN = "nan"
_LONGEST = 32_767  # characters of an Excel cell
_LINK = re.compile(r"\A(?:mailto|internal|external):")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")


def read_back(answer: str) -> str | None:
    r"""Return an answer after ``DataFrame.to_excel(engine="xlsxwriter")`` and ``read_excel``; None if it is missing.

    A formula (``=...``, ``{=...}``) comes back as its cached result, 0; a link loses its scheme (``mailto:``,
    ``internal:``, ``external:``); control characters other than tab and newline become ``_x000D_`` and the like; what
    Excel's cell cannot hold is cut. A text that has been read back stays as it is, unless a scheme hid another one.

    Deviations: numbers stay as they are written, though pandas turns a column whose answers are *all* numbers into
    numbers (``7.0`` into 7). A link of more than 2,079 characters stays (it leaves the cell empty), and so do the
    slashes of an ``external:`` one (they become backslashes). A formula or link with control characters makes a file
    that cannot be read.
    """
    if answer.startswith("=") or (answer.startswith("{=") and answer.endswith("}")):
        return "0"
    shown = _CONTROL.sub(lambda found: f"_x{ord(found[0]):04X}_", _LINK.sub("", answer)[:_LONGEST])
    return None if shown in MISSING else shown


def seen(text: str) -> str:
    """Return a text as most of VLMEvalKit's scorers see it: read back, a missing value as ``nan``."""
    back = read_back(text)
    return NAN if back is None else back
