"""Atomic file writes: readers see the old or the new content, never a part of it."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a temporary file in the same folder and rename it to the target.

    Args:
        path: the file; its folder is created.
        content: text (written as UTF-8) or bytes.

    Raises:
        OSError: it cannot be written (full disk, read-only folder); the old file stays and nothing else is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
