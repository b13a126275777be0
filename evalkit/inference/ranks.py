"""The processes of a job and the store they share; no collective operations, so none can hang."""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from evalkit.errors import IncompleteError, first_line

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

# Waiting for rank 0's plan covers its loading of data and weights.
PATIENCE = timedelta(hours=2)

# Rank 0 looks for join requests, and increments its heartbeat, once per period from a thread of its own.
POLL_S = 0.3
HEARTBEAT = "heartbeat"
# If rank 0 has not answered a join request after this long, it may have finished and exited.
JOIN_S = 10.0
# Lower bound of the heartbeat timeout before work is distributed: processes do not start simultaneously.
MIN_TIMEOUT_S = 30.0

_T = TypeVar("_T")


class Ranks:
    """This process among those of its job.

    Args:
        rank: 0-based rank of this process.
        world: number of processes.
        local_rank: 0-based rank on this machine.
        local_world: number of processes on this machine.
        store: torch's key-value store, hosted by torchrun's agent; None for a single process.
        base_store: the same store without this attempt's prefix, where late ranks ask to join.
        timeout: seconds without heartbeat from rank 0 after which waiting for its plan is given up.
    """

    def __init__(
        self,
        rank: int = 0,
        world: int = 1,
        local_rank: int = 0,
        local_world: int = 1,
        store: Store | None = None,
        base_store: Store | None = None,
        timeout: float = 600.0,
    ) -> None:
        self.rank = rank
        self.world = world
        self.local_rank = local_rank
        self.local_world = local_world
        self._store = store
        self._base_store = base_store
        self._timeout = timeout
        self._values: dict[str, str] = {}
        self._counters: dict[str, int] = {}

    def publish(self, key: str, content: Any) -> None:
        """Publish JSON content to the other ranks.

        Raises:
            IncompleteError: the store is lost (as in every method here).
        """
        text = json.dumps(content)
        if self._store is None:
            self._values[key] = text
        else:
            _call(self._store.set, key, text)

    def receive(self, key: str) -> Any:
        """Wait for content that rank 0 publishes.

        Raises:
            IncompleteError: also if rank 0 sends no heartbeat.
        """
        assert self._store is not None and self._base_store is not None, "a single process has no other to wait for"
        for _ in _poll(self._base_store, self._store, key, self._timeout):
            pass
        return json.loads(_call(self._store.get, key))

    def peek(self, key: str) -> Any:
        """Return what a rank published, or None if it has not published anything yet."""
        if self._store is None:
            return json.loads(self._values.get(key, "null"))
        return json.loads(_call(self._store.get, key)) if _call(self._store.check, [key]) else None

    def close(self) -> None:
        """Mark the job as finished, so that ranks that start too late to join can exit."""
        if self._base_store is not None:
            _call(self._base_store.set, "finished", "1")

    def count(self, key: str, amount: int = 1) -> int:
        """Add to a shared counter and return its new value."""
        if self._store is not None:
            return int(_call(self._store.add, key, amount))
        self._counters[key] = self._counters.get(key, 0) + amount
        return self._counters[key]


def _call(operation: Callable[..., _T], *args: Any) -> _T:
    try:
        return operation(*args)
    except RuntimeError as error:  # torch's DistError: a lost connection, or PATIENCE ran out
        reason = first_line(error)[:120]
        raise IncompleteError(
            f"lost connection to the job's store ({reason}): torchrun or the first node ended; all answers so far are "
            "kept; rerun the same command to resume"
        ) from error


def _poll(base_store: Store, store: Store, key: str, timeout: float) -> Iterator[float]:
    """Yield the seconds waited, a few times per second, until rank 0 has set a key of a store.

    Raises:
        IncompleteError: rank 0 sent no heartbeat for ``timeout`` seconds, or did not set the key within ``PATIENCE``.
    """
    started = changed = time.monotonic()
    last = None
    while not _call(store.check, [key]):
        now = time.monotonic()
        heartbeat = _call(base_store.add, HEARTBEAT, 0)
        if heartbeat != last:
            last, changed = heartbeat, now
        for missing, waited, limit in (
            ("sent no heartbeat", now - changed, timeout),
            ("published no plan", now - started, PATIENCE.total_seconds()),
        ):
            if waited > limit:
                raise IncompleteError(
                    f"rank 0 {missing} for {limit:g} s while the other ranks waited to start; all answers so far are "
                    "kept; rerun the same command to resume"
                )
        yield now - started
        time.sleep(POLL_S / 3)


def join(lease: float) -> Ranks | None:
    """Return this process's rank in the job; under torchrun (and only there) it joins the job's store.

    Args:
        lease: seconds without heartbeat after which a rank counts as stalled.

    Returns:
        None if the other ranks finished the job before this one started.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_exit_with_launcher, args=(os.getppid(),), daemon=True).start()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(iter(rendezvous("env://", timeout=timedelta(minutes=10))))
    timeout = max(lease, MIN_TIMEOUT_S)
    attempt = _attempt(store, rank, world, timeout)
    if attempt is None:
        return None
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    return Ranks(rank, world, local_rank, local_world, PrefixStore(attempt, store), store, timeout)


def _attempt(store: Store, rank: int, world: int, timeout: float) -> str | None:
    """Return a name for this start of the job, agreed on by its ranks and different from every earlier one.

    After ``--max-restarts`` restarted the ranks, the agent's store still holds what the dead ones wrote, and the
    restart count may differ between nodes. So each rank asks to join under a unique name, and rank 0 replies to that
    name: no leftover can be mistaken for the reply. None: the job is finished and rank 0 has exited.
    """
    own = uuid.uuid4().hex
    if rank:
        _call(store.set, f"join/{rank}", own)
        for waited in _poll(store, store, f"attempt/{own}", timeout):
            if waited > JOIN_S and _call(store.check, ["finished"]):
                return None
        return str(_call(store.get, f"attempt/{own}").decode())
    stopping = threading.Event()
    server = threading.Thread(target=_serve_joins, args=(store, world, own, stopping), daemon=True)
    server.start()

    @atexit.register  # a thread inside torch's store at interpreter shutdown would abort the process
    def stop() -> None:
        stopping.set()
        server.join(5)

    return own


def _serve_joins(store: Store, world: int, attempt: str, stopping: threading.Event) -> None:
    """Send the attempt's name to every rank that asks to join, for the whole run: a node may be late."""
    served: set[bytes] = set()
    while not stopping.wait(POLL_S):
        try:
            store.add(HEARTBEAT, 1)
            for key in (f"join/{rank}" for rank in range(1, world)):
                if stopping.is_set():
                    return
                if store.check([key]) and (name := store.get(key)) not in served:
                    store.set(f"attempt/{name.decode()}", attempt)
                    served.add(name)
        except RuntimeError:  # the main thread gets the same error and reports it
            return


def _exit_with_launcher(parent: int) -> None:
    """Exit after torchrun: its store is lost too, and the next job would find the folder in use."""
    while os.getppid() == parent:
        time.sleep(0.5)
    if os.environ.get("RANK") == "0":
        print("evalkit: torchrun ended; rerun the same command to resume", file=sys.stderr, flush=True)
    os._exit(IncompleteError.exit_code)
