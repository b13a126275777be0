"""Shared by the parsers of all commands."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from textwrap import fill
from typing import TYPE_CHECKING, Any, NoReturn

from evalkit.errors import UsageError

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Subparsers = Any


# Width of a description: argparse leaves raw text, which the examples need, as it is.
WIDTH = 78


class Parser(argparse.ArgumentParser):
    """Reports usage errors in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with the code of a usage error."""
        self.exit(UsageError.exit_code, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_command(
    commands: Subparsers, name: str, run: Callable[[argparse.Namespace], int], example: str, *, json_flag: bool = True
) -> argparse.ArgumentParser:
    """Add a command whose help is its function's docstring, with an example."""
    about = (run.__doc__ or "").strip()
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=fill(about, WIDTH),
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run_command=run)
    if json_flag:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def emit(content: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(content, ensure_ascii=False, indent=1))
