"""Draws the whole demo folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from evalkit.demo import CHECKPOINT, MARKER
from scripts.demo.charts import write_chartqa
from scripts.demo.choices import write_mmbench
from scripts.demo.clips import write_mvbench
from scripts.demo.documents import write_docvqa
from scripts.demo.files import write_json
from scripts.demo.scenes import write_refcoco
from scripts.demo.signs import write_textvqa

VERSION = 3

# A writer takes the data folder, the number of questions per file and a seeded generator.
Writer = Callable[[Path, int, Random], None]
WRITERS: Mapping[str, Writer] = {
    "docvqa": write_docvqa,
    "chartqa": write_chartqa,
    "textvqa": write_textvqa,
    "mmbench": write_mmbench,
    "mvbench": write_mvbench,
    "refcoco": write_refcoco,
}
# Questions per file; MMBench's are asked once per rotation of their options, MVBench's are spread over its 20 files.
COUNTS = {"docvqa": 120, "chartqa": 120, "textvqa": 120, "mmbench": 48, "mvbench": 120, "refcoco": 105}


def write_all(out: Path, counts: Mapping[str, int] = COUNTS) -> None:
    """Draw the data and put checkpoint and marker next to them, as ``evalkit.demo.write_demo`` does from the archive.

    Args:
        out: the demo's folder.
        counts: questions per file, by benchmark.
    """
    write_json(out / MARKER, {"demo": "evalkit", "version": VERSION, "counts": dict(counts)})
    for name, writer in WRITERS.items():
        writer(out / "data", counts[name], Random(f"evalkit demo {VERSION} {name}"))
    shutil.copytree(CHECKPOINT, out / "checkpoint", copy_function=shutil.copyfile, dirs_exist_ok=True)
