"""Decoding in separate processes: a file that hangs or crashes its decoder costs that file and nothing else."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.data.root import DataRoot
from evalkit.errors import MediaError, UsageError
from evalkit.media.load import load, load_bytes, load_images, probe
from evalkit.records import Layout, View

LOADERS = {"tiles": load, "images": load_images, "bytes": load_bytes}
LIMIT_S = 120.0
START_S = 120.0
# Decoders yield the CPU to the model: its threads wait for each other at every step.
NICE = 5
# A decoder whose parent has exited kills itself this much later than its parent would have killed it.
_GRACE_S = 10.0
# From malloc.h (glibc); the first is the maximum that glibc accepts.
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD = -3, 32 << 20
_M_TRIM_THRESHOLD, _TRIM_THRESHOLD = -1, 128 << 20


class Decoders:
    """Loads and probes views in child processes, one per calling thread.

    The children are fresh interpreters (no torch threads are inherited) that are reused from file to file; the pixels
    are those of ``media.load.load``, computed there.

    Args:
        root: the data root.
        limit: seconds that one file may take before its decoder is killed.
    """

    def __init__(self, root: DataRoot, limit: float = LIMIT_S) -> None:
        self._root = root
        self._limit = limit
        self._idle: list[_Child] = []
        self._lock = threading.Lock()

    def load(self, view: View, wants: str = "tiles") -> list[npt.NDArray[np.uint8]]:
        """Return a view's tiles, images or stored bytes, as ``media.load`` does (see ``LOADERS``).

        Raises:
            MediaError: as there; or the decoder took too long or crashed.
        """
        pixels: list[npt.NDArray[np.uint8]] = self._request(wants, view)
        return pixels

    def probe(self, view: View) -> Layout | None:
        """Return how a view is cut, as ``media.load.probe``.

        Raises:
            MediaError: as there; or the decoder took too long or crashed.
            UsageError: the path leaves the data root.
        """
        layout: Layout | None = self._request("probe", view)
        return layout

    def layout_of(self, view: View) -> Layout | None:
        """Return how a view is cut; None if its media is absent or cannot be read."""
        try:
            return self.probe(view)
        except (MediaError, UsageError):  # becomes the sample's failure when it is run
            return None

    def _request(self, what: str, view: View) -> Any:
        with self._lock:
            child = self._idle.pop() if self._idle else None
        child = child or _Child(self._root, self._limit)
        try:
            result = child.request(what, view)
        except BaseException:
            child.end()
            raise
        with self._lock:
            self._idle.append(child)
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """End the children."""
        while self._idle:
            self._idle.pop().end()

    def __enter__(self) -> Decoders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Child:
    """One decoding process, seen from the parent."""

    def __init__(self, root: DataRoot, limit: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._limit = limit
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, root, limit + _GRACE_S), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False

    def request(self, what: str, view: View) -> Any:
        """Return the child's result; an exception that it caught is returned, not raised.

        Raises:
            MediaError: there is no answer, and the child is unusable.
        """
        sending = _Alarm(self._limit, self._process.kill)
        try:
            if not self._ready:  # starting an interpreter on a busy machine is not the file's time
                self._ready = self._pipe.poll(START_S) and bool(self._pipe.recv())
            self._pipe.send((what, view))
            if not self._pipe.poll(self._limit):
                raise self._late(view)
            with sending:  # it may also hang while sending
                kind, content = self._pipe.recv()
                result = _PARTS[kind](self._pipe, content)
        except (EOFError, OSError) as error:
            if sending.rang:
                raise self._late(view) from error
            self._process.join(5)
            code = self._process.exitcode
            how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
            raise MediaError(view.media.path, f"its decoder crashed ({how})") from error
        if sending.rang:
            raise self._late(view)
        return result

    def _late(self, view: View) -> MediaError:
        return MediaError(view.media.path, f"decoder killed after {self._limit:g} s")

    def end(self) -> None:
        """Kill the process; one that even SIGKILL cannot reach (a dead network file system) is abandoned."""
        self._pipe.close()
        self._process.kill()
        self._process.join(1)


class _Alarm:
    """Calls an action if a block takes too long; ``rang`` tells, after the block, whether it did."""

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self.rang = False
        self._action = action
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True

    def _ring(self) -> None:
        self.rang = True
        self._action()

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()


def _receive_pixels(pipe: Connection, shapes: list[tuple[int, ...]]) -> list[npt.NDArray[np.uint8]]:
    arrays = [np.empty(shape, np.uint8) for shape in shapes]
    for array in arrays:
        left = array.data.cast("B")
        while left:  # directly into the array: Connection.recv_bytes_into makes two more copies
            count = os.readv(pipe.fileno(), [left])
            if not count:
                raise EOFError
            left = left[count:]
    return arrays


_PARTS: dict[str, Any] = {
    "pixels": _receive_pixels,
    "layout": lambda pipe, layout: layout,
    "media error": lambda pipe, parts: MediaError(*parts),
    "input error": lambda pipe, text: UsageError(text),
}


def _serve(pipe: Connection, root: DataRoot, limit: float) -> None:
    """Answer the parent until it exits."""
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, even in the middle of a C library
    warnings.simplefilter("ignore")  # what matters is in the MediaError
    _keep_freed_memory()
    pipe.send(True)
    while True:
        try:
            what, view = pipe.recv()
            signal.setitimer(signal.ITIMER_REAL, limit)
            _answer(pipe, what, view, root)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _keep_freed_memory() -> None:
    """Reuse the memory of one image for the next: memory from the system costs a page fault for every 4 KiB."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's own
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def _answer(pipe: Connection, what: str, view: View, root: DataRoot) -> None:
    try:
        if what == "probe":
            pipe.send(("layout", probe(view, root)))
            return
        arrays = [np.ascontiguousarray(array) for array in LOADERS[what](view, root)]
    except MediaError as error:
        pipe.send(("media error", (error.path, error.reason)))
    except UsageError as error:
        pipe.send(("input error", str(error)))
    else:
        pipe.send(("pixels", [array.shape for array in arrays]))
        for array in arrays:
            left = array.data.cast("B")
            while left:
                left = left[os.write(pipe.fileno(), left) :]
