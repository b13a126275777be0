"""The embedded demo: drawn data in the official layouts and a tiny trained checkpoint, without network or torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DemoPaths:
    """Where the demo lies.

    Attributes:
        data_root: folder that holds ``data/``, for ``--data-root``.
        checkpoint: checkpoint folder, for ``--model``.
    """

    data_root: Path
    checkpoint: Path


def write_demo(out: Path) -> DemoPaths:
    """Write the demo: ``data/`` with all six benchmarks, ``checkpoint/`` and the marker ``demo.json``.

    The same demo in ``out`` is rewritten in place, byte for byte.

    Args:
        out: a folder that is absent, empty or holds this very demo.

    Raises:
        UsageError: ``out`` holds something else or cannot be written.
    """
    from evalkit.demo.layout import write_all

    write_all(out)
    return DemoPaths(data_root=out, checkpoint=out / "checkpoint")
