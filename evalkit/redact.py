"""Removes credentials from texts before they are stored or shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

HIDDEN = "***"
_SECRET = r"(?:[\w-]*(?:token|api[_-]?key|access[_-]?key|secret|password|passwd|credential|signature))"
_PATTERNS = (
    # scheme://user:password@host, scheme://token@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#@]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    # --token=x, token: x, ?api_key=x&sig=y
    (re.compile(rf"(\b{_SECRET}\s*[=:]\s*|[?&](?:sig|key)=)[^\s&'\",;]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    # Tokens with a known prefix: Hugging Face, OpenAI and the like, GitHub, AWS.
    (re.compile(r"\b(?:hf_|sk-|gh[pousr]_|github_pat_|AKIA)[\w-]{12,}"), HIDDEN),
)
_OPTION = re.compile(rf"--?{_SECRET}", re.IGNORECASE)


def redact(text: str) -> str:
    """Return a text with recognisable credentials replaced by ``***``."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact_command(arguments: Sequence[str]) -> list[str]:
    """Return a command line without credentials, including the values of options such as ``--token``."""
    hidden = [redact(argument) for argument in arguments]
    for index, argument in enumerate(arguments[:-1]):
        if _OPTION.fullmatch(argument):
            hidden[index + 1] = HIDDEN
    return hidden
