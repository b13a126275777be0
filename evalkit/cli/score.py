"""``score`` and ``submit``: recorded responses of a run, or external predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli.options import add_card, add_data_root, add_plugin, server_score
from evalkit.cli.parser import Subparsers, add_command, emit
from evalkit.errors import UsageError


def add(commands: Subparsers) -> None:
    """Add the commands."""
    parser = add_command(commands, "score", command, "evalkit score --task docvqa_val --predictions F --data-root D")
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder")
    parser.add_argument("--task", metavar="TASK", help="score external predictions for this task")
    parser.add_argument("--predictions", metavar="F", help='JSONL with "id" and "response", or VLMEvalKit\'s xlsx')
    add_data_root(parser, required=False, default="the run's")
    add_card(parser)
    parser.add_argument("--out", metavar="DIR", help="folder for scores.json, scores.jsonl and card.md")
    parser.add_argument(
        "--server-score", type=server_score, action="append", default=[], metavar="TASK=SCORE",
        help="record a score from a benchmark's server (repeatable)",
    )  # fmt: skip
    parser.add_argument("--judged", metavar="J", help='judge record for --task: JSONL with "id" and "replies"')
    parser.add_argument("--judge-name", metavar="NAME", help="judge whose judgements count (default: the card's)")
    parser.add_argument("--allow-missing", action="store_true", help="score samples without a prediction as 0")
    add_plugin(parser)

    example = "evalkit submit RUN docvqa_test --out docvqa_test.json"
    parser = add_command(commands, "submit", submit_command, example, json_flag=False)
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("task", metavar="TASK", help="task to submit")
    parser.add_argument("--out", required=True, metavar="FILE", help="submission file to write")
    add_data_root(parser, required=False, default="the run's")


def command(args: argparse.Namespace) -> int:
    """Score recorded responses, without torch."""
    from evalkit.report.output import write_card
    from evalkit.runs.rescore import Foreign, score_foreign, score_run
    from evalkit.runs.results import score_lines

    if args.run:
        foreign = ("task", "predictions", "card", "out", "allow_missing", "plugin", "judged")
        if any(getattr(args, name) for name in foreign):
            raise UsageError(
                "score RUN takes only --data-root, --server-score, --judge-name and --json: run.json holds the rest"
            )
        done = score_run(Path(args.run), args.data_root, dict(args.server_score), args.judge_name)
    else:
        if not (args.task and args.predictions and args.data_root):
            raise UsageError("score takes a run folder, or --task, --predictions and --data-root")
        if args.server_score:
            raise UsageError("--server-score needs a run folder: evalkit score RUN --server-score TASK=SCORE")
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
    """Write a validated submission file for a split that a server scores."""
    from evalkit.runs.rescore import submit

    count = submit(Path(args.run), args.task, Path(args.out), args.data_root)
    print(f"{args.out}: {count} answers for {args.task}")
    return 0
