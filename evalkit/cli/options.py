"""Command-line options: argument types, options that several commands share, and parsers built from dataclasses."""

from __future__ import annotations

import argparse
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from math import inf, nan
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_T = TypeVar("_T")


def positive(text: str) -> int:
    """Return a positive integer."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a positive integer")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan  # within no bounds


def points(text: str) -> float:
    """Return a number of points, 0 or more."""
    value = _number(text)
    if not 0 <= value < inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of points, 0 or more")
    return value


def level(text: str) -> float:
    """Return a significance level, between 0 and 1."""
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be between 0 and 1")
    return value


def names(text: str) -> tuple[str, ...]:
    """Return names separated by commas."""
    listed = tuple(name.strip() for name in text.split(",") if name.strip())
    if not listed:
        raise argparse.ArgumentTypeError("no task given")
    return listed


def pair(text: str) -> tuple[str, str]:
    """Return the name and the value of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE")
    return name, value


def server_score(text: str) -> tuple[str, float]:
    """Return the task and the score of TASK=SCORE."""
    name, value = pair(text)
    return name, points(value)


# Converters of option texts, by the ``parse`` entry of an option's metadata.
PARSERS: Mapping[str, Callable[[str], Any]] = {"positive": positive, "level": level, "names": names, "pair": pair}


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """Add an argument for each field of an options dataclass.

    The field's metadata (``evalkit.options.option``) gives help, metavar, flags and parser; its default and annotation
    give the rest: a field without a default is required, a bool is a switch, a Literal has choices, and a tuple is
    repeatable unless its parser returns one.
    """
    hints = get_type_hints(options)
    for item in fields(options):
        flags = item.metadata.get("flags") or (f"--{item.name.replace('_', '-')}",)
        parser.add_argument(*flags, dest=item.name, **_argument(item, hints[item.name]))


def _argument(item: Field[Any], hint: Any) -> dict[str, Any]:
    shown = item.metadata
    settings: dict[str, Any] = {"help": shown["help"]}
    if item.default is MISSING:
        settings["required"] = True
    else:
        settings["default"] = item.default
        if isinstance(item.default, (int, float)) and not isinstance(item.default, bool) and item.default:
            settings["help"] += f" (default: {item.default:g})"
    plain = _plain(hint)
    if plain is bool:
        return settings | {"action": "store_true"}
    if choices := [value for value in get_args(plain) if isinstance(value, str)]:
        return settings | {"choices": choices}
    parse = PARSERS.get(shown.get("parse", ""))
    settings |= {"type": parse or (plain if plain in (int, float, Path) else str), "metavar": shown.get("metavar")}
    if get_origin(plain) is tuple and shown.get("parse") != "names":
        settings |= {"action": "append", "default": []}
    return settings


def _plain(hint: Any) -> Any:
    """Return a type without its ``| None``."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    return hint


def parsed(options: type[_T], args: argparse.Namespace) -> _T:
    """Return the options dataclass of a parsed command line."""
    given = {item.name: getattr(args, item.name) for item in fields(options)}  # type: ignore[arg-type]
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """Add ``--plugin``."""
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="plugin file with TASKS or MODELS (repeatable)"
    )


def add_card(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add ``--card``."""
    parser.add_argument("--card", default=default, metavar="CARD", help="card name or YAML file (default: internvl2)")


def add_data_root(parser: argparse.ArgumentParser, required: bool = True, default: str = "") -> None:
    """Add ``--data-root``; ``default`` describes what applies without it."""
    about = "folder with the official data/ content, or its parent" + (default and f" (default: {default})")
    parser.add_argument("--data-root", required=required, metavar="D", help=about)


def add_alpha(parser: argparse.ArgumentParser) -> None:
    """Add ``--alpha``."""
    parser.add_argument("--alpha", type=level, default=0.05, metavar="A", help="significance level (default: 0.05)")


def add_limit(parser: argparse.ArgumentParser) -> None:
    """Add ``--limit``."""
    parser.add_argument("--limit", type=positive, metavar="N", help="use only the first N samples of each task")


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Add ``-M``."""
    parser.add_argument(
        "-M", "--model-option", type=pair, action="append", default=[], metavar="KEY=VALUE",
        help="an option of the model (repeatable)",
    )  # fmt: skip
