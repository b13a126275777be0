"""The errors a user can cause or meet, each with the exit code of the command that raises it."""

from __future__ import annotations


class EvalkitError(Exception):
    """Base of the errors that end a command with one line on stderr and no traceback."""

    exit_code = 1


class UsageError(EvalkitError):
    """The user's input is wrong: usage, configuration or the content of a file."""

    exit_code = 2


class IncompleteError(EvalkitError):
    """A data file is missing or samples have no answer; what is there was kept."""

    exit_code = 3


class MediaError(Exception):
    """An image or video that cannot be read: the sample's outcome, never the end of a run.

    Args:
        path: the media file as the data set names it.
        reason: what went wrong, one line.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
