"""The HTML report: one file that works from disk and can reach nothing.

What a model or a data set says travels as JSON in a data block whose ``<`` is escaped, and the page's script puts it on
the screen as text. The content security policy allows this one script by its hash, styles by theirs, and pictures from
data URIs: even a mistake in the escaping could run or fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from evalkit.report.plot_style import Plot, image


class Section(NamedTuple):
    """A part of the summary.

    Attributes:
        title: its heading.
        body: escaped HTML.
    """

    title: str
    body: str


def data_json(content: Any) -> str:
    """Return JSON that can stand in a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def plots_html(plots: Sequence[Plot]) -> str:
    """Return plots as pictures for both colour schemes."""
    figures = []
    for plot in plots:
        pictures = "".join(
            f'<img class="{theme}-only" alt="{escape(f"{plot.title}. {plot.about}")}" '
            f'src="data:image/svg+xml;base64,{base64.b64encode(image(plot, "svg", theme)).decode()}">'
            for theme in ("light", "dark")
        )
        figures.append(f"<figure>{pictures}<figcaption>{escape(plot.about)}</figcaption></figure>")
    return f'<div class="plots">{"".join(figures)}</div>'


def table_html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts, escaped."""
    heads = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(text)}</td>" for text in others)}</tr>'
        for first, *others in rows
    )
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def list_html(lines: Sequence[str]) -> str:
    """Return lines as a list, escaped."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def page(
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
        subtitle: what stands beside it.
        warnings: what must be said of the run.
        sections: of the summary.
        content: what the script shows, see page/report.js.
        pictures: JPEGs by element id, referred to in ``content``.
    """
    folder = Path(__file__).parent / "page"
    style, script, frame = ((folder / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    stored = "\n".join(
        f'<script type="text/plain" id="{escape(name)}">{base64.b64encode(data).decode()}</script>'
        for name, data in pictures.items()
    )
    return Template(frame).substitute(
        policy=policy,
        title=escape(title),
        subtitle=escape(subtitle),
        style=style,
        warnings="".join(f'<p class="warn"><b>Note</b> {escape(text)}</p>' for text in warnings),
        summary="\n".join(f"<h2>{escape(section.title)}</h2>\n{section.body}" for section in sections),
        content=data_json(content),
        pictures=stored,
        script=script,
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
