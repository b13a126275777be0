"""``judge``: judge the answers of a run with a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli.options import add_options, parsed
from evalkit.cli.parser import Subparsers, add_command, emit
from evalkit.inference.options import JudgeOptions


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "judge", command, "evalkit judge RUN --judge replay:J.jsonl")
    parser.add_argument("run", metavar="RUN", help="run folder")
    add_options(parser, JudgeOptions)


def command(args: argparse.Namespace) -> int:
    """Judge a run's answers with a model and rescore the run; resumable."""
    from evalkit.inference.judge import judge_run
    from evalkit.report.output import write_card
    from evalkit.runs.rescore import score_run

    options = parsed(JudgeOptions, args)
    run = Path(args.run)
    name = judge_run(run, options)
    done = score_run(run, options.data_root, judge=name, keep=True)
    text = write_card(run, done.card)
    if args.json:
        emit({name: summary.to_json() for name, summary in done.scores.items()})
    else:
        print(text, end="")
    return done.exit_code
