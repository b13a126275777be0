"""Tables as TeX (booktabs)."""

from __future__ import annotations

from evalkit.report.printed import PrintedTable, PrintedTables, Text

_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "†": r"$\dagger$", "[": "{[}", "]": "{]}",
}  # fmt: skip


def _tex_escaped(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in " ".join(text.split()))


def _tex_cell(cell: Text) -> str:
    text = _tex_escaped(cell.text)
    marks = ",".join(_tex_escaped(mark) for mark in cell.marks)
    return (rf"\textbf{{{text}}}" if cell.bold else text) + (rf"\textsuperscript{{{marks}}}" if marks else "")


def _tex_table(content: PrintedTables, grid: PrintedTable) -> list[str]:
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{_tex_escaped(f'{content.title}: {grid.title}')}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.head) - 1)}}}", r"\toprule",
    ]  # fmt: skip
    if grid.spans:
        heads, rules, column = [], [], 1
        for label, span in grid.spans:
            heads += [rf"\multicolumn{{{span}}}{{c}}{{{_tex_escaped(label)}}}"] if label else [""] * span
            rules += [rf"\cmidrule(lr){{{column}-{column + span - 1}}}"] if label else []
            column += span
        lines += [" & ".join(heads) + r" \\", " ".join(rules)]
    lines += [" & ".join(_tex_escaped(text) for text in grid.head) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_tex_cell, row)) + r" \\" for row in grid.rows]
    lines += [r"\bottomrule", r"\end{tabular}", ""]
    notes = [f"{run}: {note}." for run, note in content.notes]
    notes += [content.legend, grid.source, *grid.footnotes]
    lines += [rf"\par\smallskip{{\footnotesize {_tex_escaped(note)}\par}}" for note in notes if note]
    return [*lines, r"\end{table}"]


def tex(content: PrintedTables) -> str:
    """Return tables as TeX to be included in a document."""
    # The document decides how to set wide tables and Chinese labels: it chooses the engine and the page.
    lines = [r"% \usepackage{booktabs}; labels in Chinese need xelatex or lualatex and a font that has them"]
    for grid in content.grids:
        lines += ["", *_tex_table(content, grid)]
    return "\n".join(lines) + "\n"
