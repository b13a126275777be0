"""``run``: inference and scoring."""

from __future__ import annotations

import argparse
import sys

from evalkit.cli.options import add_options, parsed
from evalkit.cli.parser import Subparsers, add_command, emit
from evalkit.console import say
from evalkit.inference.options import RunOptions


def add(commands: Subparsers) -> None:
    """Add the command."""
    example = "torchrun --nproc-per-node 8 -m evalkit run --model M --data-root D --out RUN"
    parser = add_command(commands, "run", command, example)
    add_options(parser, RunOptions)
    parser.add_argument("--dry-run", action="store_true", help="only print samples, tiles, tokens and a time estimate")
    parser.add_argument("--trust-remote-code", action="store_true", help="ignored: no remote code is ever run")


def command(args: argparse.Namespace) -> int:
    """Run inference and scoring, as one process or under torchrun; rerunning resumes a stopped run."""
    options = parsed(RunOptions, args)
    if args.dry_run:
        from evalkit.inference.estimate import estimate, estimate_lines

        rows = estimate(options)
        if args.json:
            emit(rows)
        else:
            print("\n".join(estimate_lines(rows)))
        return 0
    from evalkit.inference.job import execute
    from evalkit.inference.ranks import join

    ranks = join(options.lease)
    if ranks is None:  # the other ranks have already finished
        return 0
    if args.trust_remote_code and not ranks.rank:
        say("note: --trust-remote-code is ignored: evalkit never runs code from a checkpoint")
    ended = execute(options, ranks, sys.argv)
    if ended.card:
        from evalkit.report.output import write_card

        write_card(options.out, ended.card)
        say(f"the card's tables: {options.out / 'card.md'}")
    if args.json and ended.card:
        print((options.out / "scores.json").read_text(encoding="utf-8"), end="")
    return ended.code
