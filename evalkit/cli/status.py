"""``status``: a run's progress."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli.parser import Subparsers, add_command, emit


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "status", command, "evalkit status RUN")
    parser.add_argument("run", metavar="RUN", help="run folder")


def command(args: argparse.Namespace) -> int:
    """Show a run's progress, from any terminal: answers per task, live ranks, failures."""
    from evalkit.runs.status import run_status, status_lines

    status = run_status(Path(args.run))
    if args.json:
        emit(status)
    else:
        print("\n".join(status_lines(status)))
    return 0
