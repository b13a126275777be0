"""``tasks``: every task and split."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.cli.options import add_card, add_data_root, add_plugin
from evalkit.cli.parser import Subparsers, add_command, emit

if TYPE_CHECKING:
    from evalkit.data.root import DataRoot


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "tasks", command, "evalkit tasks --data-root D")
    add_data_root(parser, required=False)
    add_card(parser)
    add_plugin(parser)


def command(args: argparse.Namespace) -> int:
    """List every task and split."""
    from evalkit.data.root import DataRoot

    root = DataRoot(args.data_root) if args.data_root else None
    rows = describe_tasks(args.plugin, args.card, root)
    if args.json:
        emit(rows)
    else:
        print("\n".join(task_lines(rows)))
    return 0


def describe_tasks(plugins: Sequence[str], card_name: str | None, root: DataRoot | None) -> list[dict[str, Any]]:
    """Return name, metric, card rows, official count and presence of every task."""
    from evalkit.card import load_card
    from evalkit.plugins import load_tasks

    card = load_card(card_name or "internvl2")
    rows = []
    for task in load_tasks(plugins).values():
        missing = root.missing(task.files_in(root)) if root else None
        row = {
            "task": task.name,
            "metric": task.metric,
            "card_rows": list(card.rows_of(task.name)),
            "samples": task.expected_n,
            "samples_unverified": task.unverified_n,
            "labels": "local" if task.labelled else "hidden",
            "present": None if missing is None else not missing,
            "missing": missing,
            "get": task.get,
        }
        rows.append(row)
    return rows


def task_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a line per task."""
    width = max(len(row["task"]) for row in rows)
    states = {None: "", True: "  data present", False: "  data missing"}
    for row in rows:
        hidden = "  (labels hidden)" if row["labels"] == "hidden" else ""
        card = ", ".join(row["card_rows"]) or "-"
        samples = f"{'?' if row['samples'] is None else row['samples']}{'?' if row['samples_unverified'] else ''}"
        line = f"{row['task']:{width}}  {samples:>6}  {row['metric']:22}  card: {card}{hidden}"
        yield line + states[row["present"]] + (f": {', '.join(row['missing'][:2])}" if row["missing"] else "")
