"""The errors that a user can cause or see, each with the exit code of the command that raises it."""

from __future__ import annotations

# Packages of the optional extras: what needs them, and the extra that installs them.
EXTRAS = {
    "datasets": ("data fetch", "hub"),
    "safetensors": ("inference", "run"),
    "torch": ("inference", "run"),
    "transformers": ("inference", "run"),
}


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


def missing_extra(error: ModuleNotFoundError) -> UsageError | None:
    """Return the error that tells a user which extra to install.

    Args:
        error: what an import raised. If a plugin tried it, the message names the plugin's file.

    Returns:
        None if the module is in no extra: then it is a bug, evalkit's or a plugin's.
    """
    import traceback

    if error.name not in EXTRAS:
        return None
    user, extra = EXTRAS[error.name]
    frame = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    if not frame.f_globals["__name__"].startswith("evalkit."):
        user = frame.f_code.co_filename
    return UsageError(f"{user} needs {error.name}: pip install 'evalkit-vlm[{extra}]'")
