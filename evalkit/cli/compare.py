"""``compare`` and ``check``: two runs paired, and the gate."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli.options import add_alpha, add_card, points
from evalkit.cli.parser import Subparsers, add_command, emit


def add(commands: Subparsers) -> None:
    """Add the commands."""
    parser = add_command(commands, "compare", command, "evalkit compare RUN BASE")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("base", metavar="BASE", help="run folder to compare with")
    add_alpha(parser)

    parser = add_command(commands, "check", check_command, "evalkit check RUN --baseline BASE --max-drop 0.5")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--baseline", required=True, metavar="BASE", help="run folder to compare with, or 'published'")
    parser.add_argument(
        "--max-drop", type=points, default=0.0, metavar="X", help="allowed drop in points of the metric (default: 0)"
    )
    add_alpha(parser)
    add_card(parser, "internvl2")
    parser.add_argument("--summary", metavar="FILE", help="append the results as Markdown (CI step summary)")
    parser.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML")


def command(args: argparse.Namespace) -> int:
    """Compare two runs: paired differences, flipped samples, settings that differ."""
    from evalkit.report.compare import compare_folders, comparison_lines

    compared = compare_folders(Path(args.run), Path(args.base), args.alpha)
    if args.json:
        emit(compared.comparison.to_json() | {"notes": compared.notes})
    else:
        print("\n".join([*comparison_lines(compared.comparison), *dict.fromkeys(compared.notes)]))
    return 0


def check_command(args: argparse.Namespace) -> int:
    """Gate a run: exit 1 if it is significantly worse than a baseline run or the published numbers."""
    from evalkit.card import load_card
    from evalkit.report.compare import compare_folders, comparison_lines
    from evalkit.report.gate import against_published, against_run, gate_lines, junit_xml
    from evalkit.runs.folder import RunFolder

    lines: list[str] = []
    if args.baseline == "published":
        card = load_card(args.card)
        gate = against_published(card, RunFolder(Path(args.run), card), args.max_drop)
    else:
        compared = compare_folders(Path(args.run), Path(args.baseline), args.alpha)
        gate = against_run(compared.comparison, compared.lost, args.alpha, args.max_drop)
        lines = ["", *comparison_lines(compared.comparison), *dict.fromkeys(compared.notes)]
    text = "\n".join([*gate_lines(gate), *lines]) + "\n"
    if args.summary:
        with Path(args.summary).open("a", encoding="utf-8") as file:  # steps share one summary file
            file.write(text)
    if args.junit:
        Path(args.junit).write_text(junit_xml(gate), encoding="utf-8")
    if args.json:
        emit(gate.to_json())
    else:
        print(text, end="")
    return gate.exit_code
