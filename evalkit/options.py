"""Command options as dataclasses: one definition for the command line, its help and the Python value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, field
from typing import Any


def option(
    help: str, default: Any = MISSING, *, metavar: str | None = None, parse: str = "", flags: Sequence[str] = ()
) -> Any:
    """Return a dataclass field that is a command-line option.

    Args:
        help: one line for ``--help``.
        default: its default; an option without one is required.
        metavar: placeholder for the value in ``--help``.
        parse: a key of ``evalkit.cli.options.PARSERS``; by default the annotation decides.
        flags: by default ``--`` and the field's name.
    """
    metadata = {"help": help, "metavar": metavar, "parse": parse, "flags": tuple(flags)}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)
