"""Converts any exception of a decoder on a bad file to a MediaError of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalkit.errors import MediaError
from evalkit.records import Media

_REASON_LIMIT = 200


@contextmanager
def guarded(media: Media, path: Path | None = None) -> Iterator[None]:
    """Raise every failure of the block as a MediaError of ``media``.

    Decoders fail on damaged input with nearly every class of exception (OSError, SyntaxError, struct.error,
    ZeroDivisionError, ...), and one bad file must never end a run: hence the broad except.

    Args:
        media: what is being read.
        path: its path on this machine, which the reason replaces by the data set's.

    Raises:
        MediaError: the block raised an exception.
    """
    try:
        yield
    except MediaError:
        raise
    except Exception as error:
        raise MediaError(media.path, reason(error, media, path)) from error


def reason(error: Exception, media: Media, path: Path | None = None) -> str:
    """Return one short line about an exception, free of this machine's paths."""
    text = str(error)
    if path is not None:
        text = text.replace(str(path), media.path)
    text = " ".join(text.split())
    named = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return named if len(named) <= _REASON_LIMIT else named[: _REASON_LIMIT - 3] + "..."
