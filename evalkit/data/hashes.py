"""SHA-256 of large files, cached between runs in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from pathlib import Path

from evalkit.data.root import file_sha256
from evalkit.files import write_atomically

_DIGEST = re.compile(r"[0-9a-f]{64}")
# A more recent file could change again without a new modification time: its hash is not cached.
_SETTLED_NS = 2_000_000_000


def cache_folder() -> Path:
    """Return the cache folder for hashes, by the platform's convention."""
    from platformdirs import user_cache_path

    return user_cache_path("evalkit") / "sha256"


def cached_sha256(path: Path, folder: Path | None = None) -> str:
    """Return the SHA-256 of a file, computed once for each (path, size, modification time).

    Each hash is a separate file, so that jobs need no lock. A cache that is damaged or cannot be written is ignored.

    Args:
        path: the file.
        folder: the cache folder; None takes the user's.
    """
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode()).hexdigest()
    known = (cache_folder() if folder is None else folder) / key
    try:
        digest = known.read_text(encoding="ascii")
    except (OSError, ValueError):
        digest = ""
    if _DIGEST.fullmatch(digest):
        return digest
    digest = file_sha256(path)
    if time.time_ns() - stat.st_mtime_ns > _SETTLED_NS and path.stat().st_mtime_ns == stat.st_mtime_ns:
        with contextlib.suppress(OSError):
            write_atomically(known, digest)
    return digest
