"""Videos that a dataset on the Hub stores in a pickle: a dict from name to the bytes of a file (VLMEvalKit sheet 7).

Loading a pickle may run any code. Here none is loaded: its opcodes are listed (``pickletools``), and only those are
accepted that a dict of texts and bytes consists of, so that no class, function or persistent id is ever looked up.
One video at a time is in memory.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from evalkit.errors import UsageError, first_line
from evalkit.files import write_atomically

_NAMES = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_CONTENTS = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8"}
_FRAMEWORK = {
    "PROTO", "FRAME", "EMPTY_DICT", "MARK", "MEMOIZE", "BINPUT", "LONG_BINPUT", "SETITEM", "SETITEMS", "STOP",
}  # fmt: skip
# Opcodes of protocol 0 and 1 end with a line break, wherever that may be.
_LONGEST_LINE = 10_000
# Leaves room for what is added to a name on its way into a file system that takes 255 bytes.
_LONGEST_NAME = 200


def unpack_videos(pickle: Path, folder: Path) -> tuple[int, int]:
    """Write the videos of a pickle as ``<name>.mp4``; those that are there already are kept.

    Args:
        pickle: the file.
        folder: where the videos go; it is created.

    Returns:
        Numbers of videos that were written and that were there.

    Raises:
        UsageError: the file is no pickle of videos, is cut short, or cannot be read; or a video cannot be written.
            Videos before that point are written.
    """
    written = kept = 0
    try:
        with pickle.open("rb") as file:
            for name, content in _videos(_Bounded(file, pickle.stat().st_size)):
                target = folder / f"{_checked(name)}.mp4"
                if target.is_file() and target.stat().st_size == len(content):
                    kept += 1
                    continue
                write_atomically(target, content)
                written += 1
    except (ValueError, OSError) as error:
        raise UsageError(f"{pickle}: cannot be unpacked: {first_line(error)}") from error
    return written, kept


class _Bounded:
    """A file that refuses to read more bytes than it has: an opcode may claim any number.

    Args:
        file: the file.
        size: its size in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def read(self, length: int) -> bytes:
        """Return that many bytes."""
        if length > self._size - self._file.tell():
            raise ValueError("it is cut short")
        return self._file.read(length)

    def readline(self) -> bytes:
        """Return the rest of a line, or the beginning of a long one."""
        return self._file.readline(_LONGEST_LINE)


def _videos(file: _Bounded) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents, in turn, of a pickled dict.

    Raises:
        ValueError: the file is no pickle, or one of something else.
    """
    name: str | None = None
    for opcode, value, _ in pickletools.genops(file):  # type: ignore[arg-type]
        if opcode.name in _NAMES and name is None:
            name = value
        elif opcode.name in _CONTENTS and name is not None:
            assert isinstance(value, bytes)  # what the readers of these opcodes return
            yield name, value
            name = None
        elif opcode.name not in _FRAMEWORK:
            raise ValueError(f"it holds {opcode.name}, where only names and videos may be; no code was run")


def _checked(name: str) -> str:
    """Return the name of a video if it is one of a file.

    Raises:
        ValueError: it would be a path, is hidden, or no file system could hold it.
    """
    if not name.isprintable() or name[:1] in ("", ".") or set(name) & set("/\\:") or len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"the name {name[:50]!r} is not that of a video")
    return name
