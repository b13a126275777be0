"""Draws the demo's data and packs them into the archive that ``evalkit demo`` unpacks.

    python -m scripts.demo.build

The same drawings give the same tar; the drawings themselves are the same bytes with the versions in constraints.txt
(other versions of Pillow and PyAV may compress the same pixels to other bytes).
"""

from __future__ import annotations

import argparse
import io
import lzma
import tarfile
import tempfile
from pathlib import Path

from evalkit.demo import ARCHIVE, JUDGES, MARKER
from scripts.demo.layout import write_all


def pack(folder: Path) -> bytes:
    """Return a demo's marker, data and judge as a tar.xz: the same bytes for the same files.

    Args:
        folder: what ``write_all`` drew.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        drawn = (path for name in ("data", JUDGES) for path in (folder / name).rglob("*") if path.is_file())
        for path in (folder / MARKER, *sorted(drawn, key=Path.as_posix)):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())  # mode 644, time, user and group 0
            member.size = path.stat().st_size
            archive.addfile(member, io.BytesIO(path.read_bytes()))
    return lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def main() -> None:
    """Write the archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ARCHIVE, help="default: the package's own")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_all(Path(folder))
        content = pack(Path(folder))
    args.out.write_bytes(content)
    print(f"{args.out}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
