"""Tables as an HTML page that fetches nothing."""

from __future__ import annotations

from evalkit.report.page import fill
from evalkit.report.printed import PrintedTables


def html(content: PrintedTables) -> str:
    """Return tables as one page, for light and dark colour schemes."""
    return fill("tables.html", **content._asdict())
