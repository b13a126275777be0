"""A user's data folder in the official layout."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from evalkit.errors import UsageError


class DataRoot:
    """Resolves official paths (``data/chartqa/...``) under a user's folder.

    What a data file asks for may not leave the folder; a link that the user has put there may (``data/LMUData`` to
    VLMEvalKit's own folder).

    Args:
        folder: the folder with the official ``data/`` content, or its parent.

    Raises:
        UsageError: the folder does not exist.
    """

    def __init__(self, folder: str | Path) -> None:
        given = Path(folder)
        if not given.is_dir():
            raise UsageError(f"data root {given} is not a folder: pass the folder with the official data/ content")
        self.given = given
        self.base = given / "data" if (given / "data").is_dir() else given

    def resolve(self, path: str) -> Path:
        """Return the local path of an official path; symbolic links on disk are followed.

        Raises:
            UsageError: the path would leave the data root.
        """
        parts = PurePosixPath(path).parts
        if parts and parts[0] == ".":
            parts = parts[1:]
        if parts and parts[0] == "data":
            parts = parts[1:]
        if not parts or ".." in parts or "\0" in path or PurePosixPath(path).is_absolute():
            raise UsageError(
                f"path {path!r} in a data file leaves the data root; paths there are relative, as data/..."
            )
        return self.base.joinpath(*parts)

    def missing(self, paths: tuple[str, ...]) -> list[str]:
        """Return the official paths that do not exist as files here."""
        return [path for path in paths if not self.resolve(path).is_file()]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
