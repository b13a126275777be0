"""HTML: Jinja2 templates with autoescape, and what fills them.

The report is one file that works from disk and can reach nothing. Text of models and data sets is passed as JSON in a
data block whose ``<`` is escaped, and the page's script puts it on the screen as text. The content security policy
allows this one script by its hash, styles by theirs, and pictures from data URIs: even a mistake in the escaping could
run or fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evalkit.report.plot_style import Plot, image
from evalkit.report.printed import PrintedTable

if TYPE_CHECKING:
    from jinja2 import Environment


class Section(NamedTuple):
    """A part of the report's summary.

    Attributes:
        title: its heading.
        lines: shown as a list below it.
        tables: shown below the lines.
        plots: shown below the tables, in the colours of either scheme.
    """

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[PrintedTable] = ()
    plots: Sequence[Plot] = ()


def fill(template: str, **values: Any) -> str:
    """Return a template of this folder filled with values, which it escapes."""
    return _environment().get_template(template).render(values)


def report_page(
    title: str,
    subtitle: str,
    warnings: Sequence[str],
    sections: Sequence[Section],
    content: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> str:
    """Return the whole report.

    Args:
        title: its heading.
        subtitle: text next to it.
        warnings: caveats about the run.
        sections: of the summary.
        content: what the script shows, see report.js.
        pictures: JPEGs by element id, referred to in ``content``.
    """
    return fill(
        "report.html",
        title=title,
        subtitle=subtitle,
        warnings=warnings,
        sections=sections,
        content=content,
        pictures=pictures,
    )


def data_json(content: Any) -> str:
    """Return JSON that can stand in a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here: only HTML pays for it
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["asset"] = lambda name: Markup((folder / name).read_text(encoding="utf-8"))
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    environment.filters["data_json"] = lambda content: Markup(data_json(content))
    environment.filters["sha256"] = lambda text: hashlib.sha256(text.encode()).digest()
    environment.filters["svg"] = lambda plot, theme: image(plot, "svg", theme)
    return environment
