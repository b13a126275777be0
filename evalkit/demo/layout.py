"""Writes the whole demo folder and guards what is already there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from evalkit.demo.charts import write_chartqa
from evalkit.demo.choices import write_mmbench
from evalkit.demo.clips import write_mvbench
from evalkit.demo.documents import write_docvqa
from evalkit.demo.files import write_json
from evalkit.demo.scenes import write_refcoco
from evalkit.demo.signs import write_textvqa
from evalkit.errors import UsageError

MARKER = "demo.json"
VERSION = 3
CHECKPOINT = Path(__file__).parent / "checkpoint"  # trained by scripts/train_tiny.py

# A writer takes the data folder, the number of questions a file and a seeded generator.
Writer = Callable[[Path, int, Random], None]
WRITERS: Mapping[str, Writer] = {
    "docvqa": write_docvqa,
    "chartqa": write_chartqa,
    "textvqa": write_textvqa,
    "mmbench": write_mmbench,
    "mvbench": write_mvbench,
    "refcoco": write_refcoco,
}
# Questions a file; MMBench's are asked once per rotation of their options, MVBench's are shared out to its 20 files.
COUNTS = {"docvqa": 120, "chartqa": 120, "textvqa": 120, "mmbench": 48, "mvbench": 120, "refcoco": 105}


def write_all(out: Path, counts: Mapping[str, int] = COUNTS) -> None:
    """Write data, checkpoint and marker (see ``write_demo``).

    Args:
        out: the demo's folder.
        counts: questions a file, by benchmark.

    Raises:
        UsageError: ``out`` holds something else or cannot be written.
    """
    marker = {"demo": "evalkit", "version": VERSION, "counts": dict(counts)}
    try:
        _claim(out, marker)
        for name, writer in WRITERS.items():
            writer(out / "data", counts[name], Random(f"evalkit demo {VERSION} {name}"))
        shutil.copytree(CHECKPOINT, out / "checkpoint", copy_function=shutil.copyfile, dirs_exist_ok=True)
    except OSError as error:
        raise UsageError(f"demo folder {out} cannot be written: {error.strerror or error}") from error


def _claim(out: Path, marker: Mapping[str, object]) -> None:
    """Put the marker into the folder; it comes first, so that a demo cut short can be written again.

    Raises:
        UsageError: the folder holds something else.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"demo folder {out} is a file: pass a new folder")
    if out.is_dir() and any(out.iterdir()) and _marker(out) != marker:
        raise UsageError(f"demo folder {out} is not empty and holds no demo of this version: pass a new folder")
    write_json(out / MARKER, marker)


def _marker(out: Path) -> object:
    """Return what the folder's marker says; None where there is none."""
    try:
        return json.loads((out / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
