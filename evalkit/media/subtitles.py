"""The subtitles on screen at the frames of a video, as VLMEvalKit reads them with pysubs2 (VLMEvalKit sheet 8)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from evalkit.errors import UsageError, first_line

# Characters between two arrows of a SubRip file; real ones have a few hundred. pysubs2 takes time that grows with the
# square of this.
_LONGEST = 10_000


def subtitles_at(path: Path, frames: tuple[int, ...], fps: float) -> str:
    r"""Return the subtitles at the frames of a video, one line each; a frame without one adds nothing.

    At a frame holds the first entry, in the file's order, that starts before and ends after it; if that one is blank,
    the frame has none. Line breaks become a blank; ``<i>``, ``<b>``, ``<s>`` and ``<u>`` stay as ``{\i1}...{\i0}``,
    and all other tags vanish. A line that is shown at several frames is repeated.

    Args:
        path: a SubRip file; if it is absent, there are no subtitles.
        frames: indices of the frames.
        fps: frames per second; if the video does not record it (0), its subtitles cannot be placed: there are none.

    Raises:
        UsageError: the file is no SubRip file, or cannot be read.
    """
    if fps <= 0 or not path.exists():
        return ""
    if not path.is_file():
        raise UsageError(f"{path}: not a file with subtitles")
    stat = path.stat()
    return _shown(path, stat.st_mtime_ns, stat.st_size, frames, fps)


def found_subtitles(paths: Iterable[Path], read: bool) -> int:
    """Return how many of these files are there.

    Args:
        paths: the files.
        read: whether each is read as well.

    Raises:
        UsageError: one that is read is no SubRip file.
    """
    present = [path for path in paths if path.exists()]
    for path in present if read else ():
        _entries(path)
    return len(present)


# The questions on a video follow each other.
@lru_cache(maxsize=16)
def _shown(path: Path, mtime_ns: int, size: int, frames: tuple[int, ...], fps: float) -> str:
    """Return the subtitles at the frames; modification time and size make a changed file a new cache entry."""
    from pysubs2 import make_time

    entries = _entries(path)
    lines = []
    for frame in frames:
        time = make_time(frames=frame, fps=fps)  # ms
        text = next((text for start, end, text in entries if start < time < end), "")
        if text.strip():
            lines.append(text)
    return "\n".join(lines)


def _entries(path: Path) -> list[tuple[int, int, str]]:
    """Return start and end (ms) and text of a file's subtitles."""
    from pysubs2 import SSAFile
    from pysubs2.exceptions import Pysubs2Error
    from pysubs2.formats import autodetect_format

    try:
        text = path.read_text(encoding="utf-8")
        if any(len(part) > _LONGEST for part in text.split("-->")):
            raise ValueError(f"an entry is longer than {_LONGEST} characters")
        if (kind := autodetect_format(text[:10_000])) != "srt":
            raise ValueError(f"the format is {kind}")
        return [(line.start, line.end, line.text.replace(r"\N", " ")) for line in SSAFile.from_string(text, kind)]
    except (Pysubs2Error, ValueError, OSError) as error:  # ValueError: also bytes that are not UTF-8
        raise UsageError(
            f"{path}: not a file of subtitles (srt): {first_line(error)}; remove it or get it again"
        ) from error
