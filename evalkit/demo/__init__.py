"""The embedded demo: drawn data in the official layouts and a tiny trained checkpoint, without network or torch.

Both ship ready-made; ``scripts/demo`` in the repository draws the data and trains the checkpoint.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from evalkit.errors import UsageError

ARCHIVE = Path(__file__).parent / "data.tar.xz"  # the marker is its first member
CHECKPOINT = Path(__file__).parent / "checkpoint"
MARKER = "demo.json"
JUDGES = "judges"  # folder of a made-up judge's replies: <task>/predictions.jsonl


@dataclass(frozen=True, slots=True)
class DemoPaths:
    """Where the demo is.

    Attributes:
        data_root: folder that holds ``data/``, for ``--data-root``.
        checkpoint: checkpoint folder, for ``--model``.
        judges: a made-up judge's replies, for ``evalkit judge --judge replay:...``.
    """

    data_root: Path
    checkpoint: Path
    judges: Path


def write_demo(out: Path) -> DemoPaths:
    """Write the demo: ``data/`` with every benchmark, ``judges/``, ``checkpoint/`` and the marker ``demo.json``.

    The same demo in ``out`` is rewritten in place, byte for byte.

    Args:
        out: a folder that is absent, empty or holds this very demo.

    Raises:
        UsageError: ``out`` holds something else or cannot be written, or the archive cannot be read.
    """
    members = _members()
    try:
        _, marker = next(members)
        _claim(out, marker)
        for name, content in members:
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        shutil.copytree(CHECKPOINT, out / "checkpoint", copy_function=shutil.copyfile, dirs_exist_ok=True)
    except OSError as error:
        raise UsageError(f"demo folder {out} cannot be written: {error.strerror or error}") from error
    return DemoPaths(data_root=out, checkpoint=out / "checkpoint", judges=out / JUDGES)


def _members() -> Iterator[tuple[str, bytes]]:
    """Yield the archive's files: path relative to the demo's folder, and content.

    Files are read one by one rather than extracted: no Python before 3.12 is sure to have tarfile's filters.

    Raises:
        UsageError: the archive is damaged, or this Python was built without lzma.
    """
    try:
        with tarfile.open(ARCHIVE, "r:xz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                path = PurePosixPath(member.name)
                if file is None or path.is_absolute() or ".." in path.parts:
                    raise tarfile.TarError(f"unexpected member {member.name!r}")
                yield member.name, file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UsageError(f"the demo's archive {ARCHIVE} cannot be read: {error}") from error


def _claim(out: Path, marker: bytes) -> None:
    """Put the marker into the folder; it comes first, so that an interrupted demo can be written again.

    Raises:
        UsageError: the folder holds something else.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"demo folder {out} is a file: pass a new folder")
    if out.is_dir() and any(out.iterdir()) and _marker(out) != json.loads(marker):
        raise UsageError(f"demo folder {out} is not empty and holds no demo of this version: pass a new folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).write_bytes(marker)


def _marker(out: Path) -> object:
    """Return what the folder's marker says; None if there is none."""
    try:
        return json.loads((out / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
