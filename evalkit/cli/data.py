"""``data check`` and ``data fetch``."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli.options import add_data_root, add_plugin
from evalkit.cli.parser import Subparsers, add_command, emit
from evalkit.errors import IncompleteError, UsageError


def add(commands: Subparsers) -> None:
    """Add the commands."""
    data = commands.add_parser(
        "data", help="Check or fetch benchmark data.", description="Check or fetch benchmark data."
    )
    inner = data.add_subparsers(required=True, metavar="COMMAND")
    parser = add_command(inner, "check", check_command, "evalkit data check docvqa_val --data-root D")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="task to check (default: all)")
    add_data_root(parser)
    add_plugin(parser)
    example = "evalkit data fetch textvqa_val --data-root D"
    parser = add_command(inner, "fetch", fetch_command, example, json_flag=False)
    parser.add_argument("task", metavar="TASK", help="task to fetch")
    add_data_root(parser)
    parser.add_argument(
        "--revision", metavar="COMMIT", help="dataset commit (default: that of an earlier fetch, else the newest)"
    )
    parser.add_argument("--source", metavar="DIR", help="local clone of the dataset repository")
    add_plugin(parser)


def check_command(args: argparse.Namespace) -> int:
    """Check a data root against the official counts; list what is missing."""
    from evalkit.data.root import DataRoot
    from evalkit.integrity import check_lines, check_tasks
    from evalkit.plugins import choose, load_tasks

    tasks = load_tasks(args.plugin)
    rows = check_tasks(choose(tasks, args.tasks or tasks), DataRoot(args.data_root))
    if args.json:
        emit(rows)
    else:
        print("\n".join(check_lines(rows)))
    return 0 if all(row["complete"] for row in rows) else IncompleteError.exit_code


def fetch_command(args: argparse.Namespace) -> int:
    """Fetch a task from the Hub and write it in the official layout."""
    from evalkit.data.hub import fetch
    from evalkit.data.root import DataRoot
    from evalkit.plugins import choose, load_tasks

    Path(args.data_root).mkdir(parents=True, exist_ok=True)
    (task,) = choose(load_tasks(args.plugin), [args.task])
    if task.hub is None:
        raise UsageError(f"task {task.name!r} is not on the Hub; to get it: {task.get}")
    emit(fetch(task.name, task.hub, DataRoot(args.data_root), args.revision, args.source))
    return 0
