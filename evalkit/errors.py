"""The errors that a user can cause or see, each with the exit code of the command that raises it."""

from __future__ import annotations


class EvalkitError(Exception):
    """Base of the errors that end a command with one line on stderr and no traceback."""

    exit_code = 1


class UsageError(EvalkitError):
    """The user's input is wrong: usage, configuration or the content of a file.

    A model may raise it while it answers, to end its rank with nothing written for the requests in flight.
    """

    exit_code = 2


class IncompleteError(EvalkitError):
    """A data file is missing or samples have no answer; partial results are kept."""

    exit_code = 3


class ModelUnavailable(IncompleteError):
    """A model can no longer answer: its device or server is lost.

    It ends the rank with nothing written for the requests in flight, so the same command resumes them.
    """


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


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
