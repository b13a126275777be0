"""One job at a time in a run folder: a lock held exactly as long as any process of the job lives."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from datetime import datetime, timezone
from pathlib import Path

from evalkit.errors import UsageError

# A job that was just killed may still have processes that are about to exit.
PATIENCE_S = 10.0
_BUSY = (errno.EWOULDBLOCK, errno.EACCES)


class RunLock:
    """The lock of a run folder, ``RUN/.lock``.

    The first rank takes it exclusively, which fails while a process of another job holds it, and then shares it with
    the other ranks of its own job. The kernel ties it to the open file (on a network file system, the server ties it to
    the client), so it ends with its last holder, however that exits; the file's content is only used for the message.

    Args:
        out: the run folder.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._path = out / ".lock"
        self._descriptor: int | None = None

    def claim(self, patience: float = PATIENCE_S) -> bool:
        """Acquire the lock for a job, on its first rank.

        Args:
            patience: seconds to wait for another job to end.

        Returns:
            False if the file system does not support locks, so that a second job would not be detected.

        Raises:
            UsageError: another job is using the folder; names its machine and process.
        """
        self._out.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + patience
        while not (state := self._try(fcntl.LOCK_EX)):
            if state is None:
                return False
            if time.monotonic() > deadline:
                self._refuse()
            time.sleep(0.2)
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "started": started}
        self._path.write_text(json.dumps(holder) + "\n", encoding="utf-8")
        self.join()
        return True

    def join(self) -> None:
        """Share the job's lock, on any rank.

        Raises:
            UsageError: another job took it in between.
        """
        if self._try(fcntl.LOCK_SH) is False:
            self._refuse()

    def close(self) -> None:
        """Release the lock, as exiting does."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _try(self, kind: int) -> bool | None:
        """Return whether the lock was acquired; None if the file system does not support locks."""
        if self._descriptor is None:  # not inheritable: a decoder that outlives its rank must not keep the lock
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            return None
        return True

    def _refuse(self) -> None:
        try:
            holder = json.loads(self._path.read_text(encoding="utf-8"))
            who = f"process {holder['pid']} on {holder['host']}, started {holder['started']}"
        except (OSError, ValueError, KeyError, TypeError):
            who = "unknown: .lock is not readable"
        raise UsageError(
            f"run folder {self._out} is in use by another job ({who}); wait for it, stop it, or choose another --out"
        )
