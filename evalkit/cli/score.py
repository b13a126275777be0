"""``score`` and ``submit``: recorded responses of a run, or anyone's predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli.options import add_card, add_data_root, add_plugin, server_score
from evalkit.cli.parser import Subparsers, add_command, emit
from evalkit.errors import UsageError


def add(commands: Subparsers) -> None:
    """Add the commands."""
    parser = add_command(commands, "score", command, "evalkit score --task docvqa_val --predictions F --data-root D")
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run folder")
    parser.add_argument("--task", help="score anyone's predictions for this task")
    parser.add_argument("--predictions", metavar="F", help='JSONL with "id" and "response"')
    add_data_root(parser, required=False)
    add_card(parser)
    parser.add_argument("--out", metavar="DIR", help="write scores.json, scores.jsonl and card.md there")
    parser.add_argument(
        "--server-score", type=server_score, action="append", default=[], metavar="TASK=SCORE",
        help="keep a score that a benchmark's server returned (repeatable)",
    )  # fmt: skip
    parser.add_argument("--judged", metavar="J", help='a judge\'s record for --task: JSONL with "id" and "replies"')
    parser.add_argument("--judge-name", metavar="NAME", help="the judge whose word counts (default: the card's)")
    parser.add_argument("--allow-missing", action="store_true", help="score samples without a prediction 0")
    add_plugin(parser)

    example = "evalkit submit RUN docvqa_test --out docvqa_test.json"
    parser = add_command(commands, "submit", submit_command, example, json_flag=False)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("--out", required=True, metavar="FILE")
    add_data_root(parser, required=False)


def command(args: argparse.Namespace) -> int:
    """Score recorded responses; no torch."""
    from evalkit.report.output import write_card
    from evalkit.runs.rescore import Foreign, score_foreign, score_run
    from evalkit.runs.results import score_lines

    if args.run:
        foreign = ("task", "predictions", "card", "out", "allow_missing", "plugin", "judged")
        if any(getattr(args, name) for name in foreign):
            raise UsageError(
                "score RUN takes only --data-root, --server-score, --judge-name and --json: the rest is in its run.json"
            )
        done = score_run(Path(args.run), args.data_root, dict(args.server_score), args.judge_name)
    else:
        if not (args.task and args.predictions and args.data_root):
            raise UsageError("score takes a run folder, or --task, --predictions and --data-root")
        if args.server_score:
            raise UsageError("--server-score is kept in a run folder: evalkit score RUN --server-score TASK=SCORE")
        given = Foreign(
            task=args.task, predictions=Path(args.predictions), data_root=args.data_root, card=args.card,
            plugins=args.plugin, out=Path(args.out) if args.out else None, allow_missing=args.allow_missing,
            judged=Path(args.judged) if args.judged else None, judge=args.judge_name,
        )  # fmt: skip
        done = score_foreign(given)
    text = write_card(done.out, done.card) if done.out else score_lines(done.scores)
    if args.json:
        emit({name: summary.to_json() for name, summary in done.scores.items()})
    else:
        print(text, end="")
    return done.exit_code


def submit_command(args: argparse.Namespace) -> int:
    """Write a validated submission file for a split whose answers a server holds."""
    from evalkit.runs.rescore import submit

    count = submit(Path(args.run), args.task, Path(args.out), args.data_root)
    print(f"{args.out}: {count} answers of {args.task}")
    return 0
