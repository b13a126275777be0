"""The command line. Messages go to stderr, data to stdout."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from evalkit.cli import compare, data, demo, judge, report, run, score, show, status, table, tasks
from evalkit.cli.parser import Parser
from evalkit.errors import EvalkitError, UsageError, missing_extra

INTERRUPTED = 130
# In the order of --help.
COMMANDS = (tasks, show, data, run, status, judge, score, table, compare, report, demo)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    from evalkit import __version__

    parser = Parser(
        prog="evalkit",
        description="Reproduce the benchmark tables of the InternVL2-1B model card.",
        epilog="example:\n  evalkit demo --out demo && evalkit tasks --data-root demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"evalkit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return parser


def _with_extras(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command; a missing package of an extra is a user's error."""
    try:
        return command(args)
    except ModuleNotFoundError as error:
        if missing := missing_extra(error):
            raise missing from error
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 2 wrong input, 3 incomplete (130: interrupted).
    """
    args = build_parser().parse_args(argv)
    try:
        code = _with_extras(args.run_command, args)
        sys.stdout.flush()
        return code
    except EvalkitError as error:
        from evalkit.redact import redact

        print(f"evalkit: {redact(str(error))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader (head, less) has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a folder that cannot be written, a full disk: the user's machine, not a bug
        print(f"evalkit: {error.filename or type(error).__name__}: {error.strerror or error}", file=sys.stderr)
        return UsageError.exit_code
    except KeyboardInterrupt:
        print("evalkit: interrupted; the same command resumes the run", file=sys.stderr)
        return INTERRUPTED


def entry() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(main())
