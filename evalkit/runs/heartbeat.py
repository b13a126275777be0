"""A small file per rank in the run folder, rewritten periodically, from which ``evalkit status`` sees its state."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from evalkit.files import write_atomically

# Hidden, so that no task's folder can have this name.
FOLDER = ".ranks"
PERIOD_S = 5.0


class Heartbeat:
    """Rewrites a file periodically, from a thread of its own, until closed or the process ends.

    Args:
        path: the file.
        content: the state to write; read at every write, so the owner may change it.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and write the last state."""
        self._stop.set()
        self._thread.join()
        self._write()

    def _run(self) -> None:
        self._write()
        while not self._stop.wait(PERIOD_S):
            self._write()

    def _write(self) -> None:
        with suppress(OSError):  # on a full disk, writing the answers reports the error
            write_atomically(self._path, json.dumps(self._content | {"updated": time.time()}))
