"""The processes of a job and the store they share; no collective, so none can hang."""

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

from evalkit.errors import IncompleteError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

# Waiting for rank 0's plan covers its loading of data and weights.
PATIENCE = timedelta(hours=2)

KNOCKS_S = 0.3
# A rank 0 that is there answers sooner than this.
OVER_S = 10.0
# Rank 0 shows that it lives with each look for knocks, whatever else it does.
PULSE = "pulse"
# Before the work is shared out, at least this much silence is let pass: processes do not start at the same moment.
LEAST_SILENCE_S = 30.0

_T = TypeVar("_T")


class Ranks:
    """This process among those of its job.

    Args:
        rank: 0-based number of this process.
        world: number of processes.
        local_rank: number among those of this machine.
        local_world: processes on this machine.
        store: torch's key-value store, held by torchrun's agent; None for a single process.
        hall: the same store without the prefix of this attempt, where late ranks knock.
        silence: seconds without a sign of life of rank 0 that are waited for its plan.
    """

    def __init__(
        self,
        rank: int = 0,
        world: int = 1,
        local_rank: int = 0,
        local_world: int = 1,
        store: Store | None = None,
        hall: Store | None = None,
        silence: float = 600.0,
    ) -> None:
        self.rank = rank
        self.world = world
        self.local_rank = local_rank
        self.local_world = local_world
        self._store = store
        self._hall = hall
        self._silence = silence
        self._values: dict[str, str] = {}
        self._counters: dict[str, int] = {}

    def publish(self, key: str, content: Any) -> None:
        """Give JSON content to the other ranks.

        Raises:
            IncompleteError: the store is gone (so for every method here).
        """
        text = json.dumps(content)
        if self._store is None:
            self._values[key] = text
        else:
            _asked(self._store.set, key, text)

    def receive(self, key: str) -> Any:
        """Wait for what rank 0 publishes.

        Raises:
            IncompleteError: also if rank 0 shows no sign of life.
        """
        assert self._store is not None and self._hall is not None, "a single process waits for nobody"
        for _ in _waiting(self._hall, self._store, key, self._silence):
            pass
        return json.loads(_asked(self._store.get, key))

    def look(self, key: str) -> Any:
        """Return what a rank published, or None if there is nothing yet."""
        if self._store is None:
            return json.loads(self._values.get(key, "null"))
        return json.loads(_asked(self._store.get, key)) if _asked(self._store.check, [key]) else None

    def close(self) -> None:
        """Tell ranks that come when all is done, and find nobody to answer them, that they may leave."""
        if self._hall is not None:
            _asked(self._hall.set, "over", "1")

    def count(self, key: str, amount: int = 1) -> int:
        """Add to a shared counter and return its new value."""
        if self._store is not None:
            return int(_asked(self._store.add, key, amount))
        self._counters[key] = self._counters.get(key, 0) + amount
        return self._counters[key]


def _asked(operation: Callable[..., _T], *args: Any) -> _T:
    try:
        return operation(*args)
    except RuntimeError as error:  # torch's DistError: a lost connection, or PATIENCE ran out
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:120]
        raise IncompleteError(
            f"the job's store does not answer ({reason}): its launcher or its first node ended; every answer so far is "
            "kept, and the same command continues the run"
        ) from error


def _waiting(hall: Store, store: Store, key: str, silence: float) -> Iterator[float]:
    """Yield the seconds waited, a few times a second, until rank 0 has set a key of a store.

    Raises:
        IncompleteError: rank 0 showed no sign of life for ``silence`` seconds, or did not set it within ``PATIENCE``.
    """
    started = heard = time.monotonic()
    last = None
    while not _asked(store.check, [key]):
        now = time.monotonic()
        pulse = _asked(hall.add, PULSE, 0)
        if pulse != last:
            last, heard = pulse, now
        for what, waited, limit in (
            ("no sign of life", now - heard, silence),
            ("no plan", now - started, PATIENCE.total_seconds()),
        ):
            if waited > limit:
                raise IncompleteError(
                    f"rank 0 gave {what} for {limit:g} s while the others waited to begin; every answer so far is "
                    "kept, and the same command continues the run"
                )
        yield now - started
        time.sleep(KNOCKS_S / 3)


def join(lease: float) -> Ranks | None:
    """Return this process's place in the job; under torchrun (and only there) its store is joined.

    Args:
        lease: seconds without a sign of life after which a rank counts as stalled.

    Returns:
        None where the others finished the job before this rank came.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_end_with_the_launcher, args=(os.getppid(),), daemon=True).start()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(iter(rendezvous("env://", timeout=timedelta(minutes=10))))
    silence = max(lease, LEAST_SILENCE_S)
    attempt = _attempt(store, rank, world, silence)
    if attempt is None:
        return None
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    return Ranks(rank, world, local_rank, local_world, PrefixStore(attempt, store), store, silence)


def _attempt(store: Store, rank: int, world: int, silence: float) -> str | None:
    """Return a name that the ranks of this start of the job agree on, and no earlier one had.

    After ``--max-restarts`` brought the ranks back, the agent's store still holds what the dead ones wrote, and the
    restart count need not be the same on all nodes. So each rank knocks with a name of its own, and rank 0 answers to
    that name: nothing that is left over can be taken for it. None: rank 0 has left, everything done.
    """
    own = uuid.uuid4().hex
    if rank:
        _asked(store.set, f"knock/{rank}", own)
        for waited in _waiting(store, store, f"answer/{own}", silence):
            if waited > OVER_S and _asked(store.check, ["over"]):
                return None
        return str(_asked(store.get, f"answer/{own}").decode())
    leaving = threading.Event()
    keeper = threading.Thread(target=_answer_knocks, args=(store, world, own, leaving), daemon=True)
    keeper.start()

    @atexit.register  # a thread that is inside torch's store while the interpreter ends aborts the process
    def leave() -> None:
        leaving.set()
        keeper.join(5)

    return own


def _answer_knocks(store: Store, world: int, attempt: str, leaving: threading.Event) -> None:
    """Tell the attempt's name to whoever knocks, as long as this process and the store live: a node may be late."""
    answered: set[bytes] = set()
    while not leaving.wait(KNOCKS_S):
        try:
            store.add(PULSE, 1)
            for key in (f"knock/{rank}" for rank in range(1, world)):
                if leaving.is_set():
                    return
                if store.check([key]) and (knock := store.get(key)) not in answered:
                    store.set(f"answer/{knock.decode()}", attempt)
                    answered.add(knock)
        except RuntimeError:  # the main thread meets the same, and says so
            return


def _end_with_the_launcher(parent: int) -> None:
    """Leave when torchrun is gone: its store went with it, and the next job would find the folder in use."""
    while os.getppid() == parent:
        time.sleep(0.5)
    if os.environ.get("RANK") == "0":
        print("evalkit: the launcher ended; the same command continues the run", file=sys.stderr, flush=True)
    os._exit(IncompleteError.exit_code)
