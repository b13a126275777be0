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
from scripts.demo.films import write_films
from scripts.demo.internvl import write_infovqa, write_mme, write_seed
from scripts.demo.lmudata import write_lmudata
from scripts.demo.scenes import write_refcoco
from scripts.demo.shared_sets import write_ai2d, write_mmmu, write_mmvet
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
# These share their pictures: a writer takes the data folder and a number.
SHARING: Mapping[str, Callable[[Path, int], None]] = {
    "infovqa": write_infovqa,
    "mme": write_mme,
    "seed": write_seed,
    "ai2d": write_ai2d,
    "mmmu": write_mmmu,
    "mmvet": write_mmvet,
    "lmudata": write_lmudata,
    "films": write_films,
}
# Questions per file; MMBench's are asked once per rotation of their options, MVBench's are spread over its 20 files.
# Of MME it is pictures per task, of MMMU subjects, of the two sets of videos clips.
COUNTS = {
    "docvqa": 120, "chartqa": 120, "textvqa": 120, "mmbench": 48, "mvbench": 120, "refcoco": 105,
    "infovqa": 12, "mme": 2, "seed": 18, "ai2d": 12, "mmmu": 30, "mmvet": 10, "lmudata": 12, "films": 3,
}  # fmt: skip


def write_all(out: Path, counts: Mapping[str, int] = COUNTS) -> None:
    """Draw the data and put checkpoint and marker next to them, as ``evalkit.demo.write_demo`` does from the archive.

    Args:
        out: the demo's folder.
        counts: questions per file, by benchmark; the others are left out.
    """
    write_json(out / MARKER, {"demo": "evalkit", "version": VERSION, "counts": dict(counts)})
    for name, count in counts.items():
        if name in SHARING:
            SHARING[name](out / "data", count)
        else:
            WRITERS[name](out / "data", count, Random(f"evalkit demo {VERSION} {name}"))
    shutil.copytree(CHECKPOINT, out / "checkpoint", copy_function=shutil.copyfile, dirs_exist_ok=True)
