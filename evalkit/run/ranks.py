"""The processes of a job and the one queue they share; no collective, so none can hang."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

# Waiting for rank 0's plan covers its loading of data and weights.
PATIENCE = timedelta(hours=2)


class Ranks:
    """This process among those of its job.

    Args:
        rank: 0-based number of this process.
        world: number of processes.
        local_rank: number among those of this machine.
        local_world: processes on this machine.
        store: torch's key-value store, held by torchrun's agent; None for a single process.
    """

    def __init__(
        self, rank: int = 0, world: int = 1, local_rank: int = 0, local_world: int = 1, store: Store | None = None
    ) -> None:
        self.rank = rank
        self.world = world
        self.local_rank = local_rank
        self.local_world = local_world
        self._store = store
        self._counters: dict[str, int] = {}

    def publish(self, key: str, content: Any) -> None:
        """Give JSON content to the other ranks."""
        if self._store is not None:
            self._store.set(key, json.dumps(content))

    def receive(self, key: str) -> Any:
        """Wait for what another rank publishes."""
        assert self._store is not None, "a single process waits for nobody"
        self._store.wait([key], PATIENCE)
        return json.loads(self._store.get(key))

    def count(self, key: str, amount: int = 1) -> int:
        """Add to a shared counter and return its new value."""
        if self._store is not None:
            return int(self._store.add(key, amount))
        self._counters[key] = self._counters.get(key, 0) + amount
        return self._counters[key]

    def take(self) -> int:
        """Return the number of the next free unit of work."""
        return self.count("taken") - 1


def join() -> Ranks:
    """Return this process's place in the job; under torchrun (and only there) its store is joined."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(iter(rendezvous("env://", timeout=timedelta(minutes=10))))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    return Ranks(rank, world, local_rank, local_world, store)
