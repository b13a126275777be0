"""Tables as data: CSV and JSON, with every digit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from evalkit.report.table import Cell, TableData
from evalkit.runs.folder import RowResult


def csv_text(tables: Sequence[TableData]) -> str:
    """Return a line for each published number and each score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["table", "row", "label", "column", "kind", "value", "ci_low", "ci_high", "n", "expected_n", "difference"]
    writer.writerow([*head, "verdict", "best", "significant", "settings", "metric"])
    for data in tables:
        for index, row in enumerate(data.table.rows):
            start = [data.table.id, row.id, row.label]
            for model in data.table.models:
                writer.writerow(
                    [*start, model.name, "published", row.published.get(model.name), *[None] * 9, row.metric]
                )
            for label, _, cells in data.runs:
                cell = cells[index]
                result = cell.result or RowResult(None, None, 0, 0, None, (), ())
                numbers = [result.score, *(result.ci95 or (None, None)), result.n, result.expected_n]
                marks = [int(cell.best), int(cell.significant), "; ".join(result.settings)]
                writer.writerow([*start, label, "run", *numbers, cell.difference, cell.verdict, *marks, row.metric])
    return text.getvalue()


def json_text(tables: Sequence[TableData]) -> str:
    """Return one JSON document."""
    content = [
        {
            "id": data.table.id,
            "title": data.table.title,
            "rows": [
                {
                    "id": row.id,
                    "label": row.label,
                    "metric": row.metric,
                    "tasks": data.card.formula(row).tasks,
                    "published": row.published,
                    "note": row.note,
                    "flags": row.flags,
                    "runs": [_json_cell(label, cells[index]) for label, _, cells in data.runs],
                }
                for index, row in enumerate(data.table.rows)
            ],
        }
        for data in tables
    ]
    runs = [{"label": label, "notes": list(notes)} for label, notes, _ in tables[0].runs] if tables else []
    return json.dumps({"runs": runs, "tables": content}, ensure_ascii=False, indent=1) + "\n"


def _json_cell(label: str, cell: Cell) -> dict[str, Any]:
    result = cell.result._asdict() if cell.result else {}
    marks = {"best": cell.best, "significant": cell.significant}
    return {"run": label, "verdict": cell.verdict, "difference": cell.difference} | marks | result
