"""``table``: the card's tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli.options import add_card
from evalkit.cli.parser import Subparsers, add_command


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "table", command, "evalkit table RUN --format md", json_flag=False)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    add_card(parser, "internvl2")
    parser.add_argument(
        "--format", choices=("md", "csv", "tex", "html", "json", "model-index", "eval-results"), default="md",
        help="default: md; model-index and eval-results are Hub metadata for one run",
    )  # fmt: skip
    parser.add_argument("--compact", action="store_true", help="one column per run, for READMEs (md, tex, html)")
    parser.add_argument("--by-task", action="store_true", help="one table of all tasks, without published numbers")


def command(args: argparse.Namespace) -> int:
    """Print the card's tables: published numbers next to the runs' scores."""
    from evalkit.report.output import table_text

    print(table_text([Path(run) for run in args.runs], args.card, args.format, args.compact, args.by_task), end="")
    return 0
