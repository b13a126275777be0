"""Rewrite what the pages quote: in a code block that starts with ``$ evalkit ...`` stands what that command prints.

``python scripts/refresh_docs.py`` from anywhere; tests/test_docs.py fails if a page is out of date.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
QUOTED = re.compile(r"^```\n\$ evalkit (.*)\n[^`]*^```$", re.MULTILINE)


def refreshed(text: str) -> str:
    """Return a page with the current output of every command that it quotes.

    Raises:
        CalledProcessError: a command fails.
    """
    return QUOTED.sub(lambda block: f"```\n$ evalkit {block[1]}\n{_printed(block[1])}```", text)


def _printed(command: str) -> str:
    arguments = [sys.executable, "-m", "evalkit", *shlex.split(command)]
    return subprocess.run(arguments, cwd=REPO, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Rewrite README.md and docs/."""
    for page in (REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))):
        page.write_text(refreshed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
