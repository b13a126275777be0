"""The units of work that ranks share: each is leased to the rank that took it, and survives that rank.

Ranks take units from a shared counter. Each publishes the units it holds and a heartbeat, a number that grows as long
as its main loop runs. A rank whose heartbeat does not change for the length of a lease is stalled or dead: idle ranks
claim its units, each unit claimed by exactly one of them, and the former holder, if it resumes, sees the claim before
it writes another answer. No rank is waited for: the run ends when every unit is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any

from evalkit.inference.ranks import Ranks

# Minimum seconds between two published heartbeats, and maximum seconds between two checks of the other ranks (two
# messages per rank).
HEARTBEAT_S = 0.5
CHECK_S = 30.0
IDLE_S = 0.1
# Maximum cost a rank may hold, as a fraction of an equal share of the remaining cost.
HOLD = 0.5


def may_hold(held: float, cost: float, left: float, world: int) -> bool:
    """Return whether a rank may take another unit in addition to those it holds.

    A rank that decodes ahead or batches many units must not hoard what others will soon lack: with a heavy tail, the
    costliest units would all queue behind each other on the first rank.

    Args:
        held: cost of the units it holds.
        cost: cost of the next unit.
        left: cost of that unit and all after it.
        world: number of ranks.
    """
    return world == 1 or held + cost <= HOLD * left / world


@dataclass(slots=True)
class _Peer:
    """Last known state of another rank: its heartbeat, since when, and the units it holds with their turns."""

    heartbeat: int
    since: float
    units: dict[int, int]
    process: str


class WorkQueue:
    """One rank's end of the queue.

    Args:
        ranks: the job's processes.
        costs: cost of each unit, in the order in which they are taken; only the proportions matter.
        lease: seconds without heartbeat after which other ranks take over a rank's units.
        name: returns a unit's name for messages.
        process: describes this process for messages, so that a user can find it.
        log: writes a line for the user.
        clock: monotonic clock in seconds.
    """

    def __init__(
        self,
        ranks: Ranks,
        costs: Sequence[float],
        lease: float,
        name: Callable[[int], str],
        process: str,
        log: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ranks = ranks
        self._total = len(costs)
        self._costs = costs
        self._left = list(accumulate(reversed(costs)))[::-1]  # cost of each unit and all after it
        self._lease = lease
        self._name = name
        self._process = process
        self._log = log
        self._clock = clock
        self._turns: dict[int, int] = {}  # units this rank holds, and how often each was claimed from another rank
        self._untaken = True  # whether the counter may still have units
        self._heartbeats = 0
        self._published = self._checked = clock()
        self._progress = (0, clock())  # units done, and since when
        self._peers: dict[int, _Peer] = {}
        self._publish()

    def take(self) -> int | None:
        """Return the next unit for this rank; None if none is available now, or if it should not hold more."""
        checked = self._check_peers()
        if self._untaken and self._turns and not self._may_take():
            return None
        if self._untaken:
            unit = self._ranks.count("taken") - 1
            if unit < self._total:
                return self._hold(unit, 0)
            self._untaken = False
        return self._claim() if checked else None

    def _may_take(self) -> bool:
        unit = self._ranks.count("taken", 0)
        if unit >= self._total:
            return True  # the counter will tell
        held = sum(self._costs[number] for number in self._turns)
        return may_hold(held, self._costs[unit], self._left[unit], self._ranks.world)

    def taken_over(self, unit: int) -> bool:
        """Return whether a unit was claimed from another rank, which may have answered part of it already."""
        return self._turns[unit] > 0

    def owns(self, unit: int) -> bool:
        """Return whether a unit is still this rank's, to be checked before writing an answer; sends a heartbeat."""
        self.heartbeat()
        return unit in self._turns

    def finish(self, unit: int) -> None:
        """Mark a unit as done, if it is still this rank's."""
        self.heartbeat()
        if self._turns.pop(unit, None) is not None and self._ranks.count(f"done/{unit}") == 1:
            self._ranks.count("done")

    def heartbeat(self) -> None:
        """Publish a heartbeat, unless the last one is recent."""
        if self._clock() - self._published > min(HEARTBEAT_S, self._lease / 10):
            self._publish()

    def all_done(self) -> bool:
        """Return whether every unit is done, by any rank."""
        done = self._ranks.count("done", 0)
        if done != self._progress[0]:
            self._progress = (done, self._clock())
        return done >= self._total

    def idle(self) -> None:
        """Sleep briefly while keeping the heartbeat."""
        self.heartbeat()
        time.sleep(min(IDLE_S, self._lease / 20))

    def leads(self) -> bool:
        """Wait until it is decided which rank finishes the run (0, or the first to see 0 stalled); True if this one."""
        while self._ranks.rank and not self._ranks.count("led", 0):
            if self._check_peers() and 0 in self._stalled():
                break
            self.idle()
        return self._ranks.count("led") == 1

    def _hold(self, unit: int, turn: int) -> int:
        self._turns[unit] = turn
        self._publish()
        return unit

    def _publish(self) -> None:
        """Publish a heartbeat and the units held. After a long silence, release those claimed by others meanwhile."""
        if self._clock() - self._published > self._lease / 2:
            self._turns = {unit: turn for unit, turn in self._turns.items() if not self._claimed(unit, turn + 1)}
        self._heartbeats += 1
        self._published = self._clock()
        record = {"heartbeat": self._heartbeats, "units": list(self._turns.items()), "process": self._process}
        self._ranks.publish(f"rank/{self._ranks.rank}", record)

    def _check_peers(self) -> bool:
        """Read the other ranks' heartbeats if due (ten times per lease); report stalled ranks once. Return if due."""
        now = self._clock()
        if now - self._checked < min(CHECK_S, self._lease / 10):
            return False
        if now - self._checked > self._lease:
            self._peers.clear()  # this rank itself was suspended, perhaps with the others: restart every lease
        self._checked = now
        for rank in set(range(self._ranks.world)) - {self._ranks.rank}:
            record: Any = self._ranks.peek(f"rank/{rank}") or {"heartbeat": 0, "units": [], "process": "never seen"}
            if rank not in self._peers or self._peers[rank].heartbeat != record["heartbeat"]:
                self._peers[rank] = _Peer(record["heartbeat"], now, dict(record["units"]), record["process"])
        for rank, peer in self._stalled().items():
            if self._ranks.count(f"stalled/{rank}/{peer.heartbeat}") == 1:
                last = f"its last group: {self._name(next(iter(peer.units)))}" if peer.units else "it held no group"
                self._log(
                    f"rank {rank} ({peer.process}) sent no heartbeat for {self._lease:g} s; {last}; the other ranks "
                    "take over its work and will not wait for it"
                )
        return True

    def _stalled(self) -> dict[int, _Peer]:
        return {rank: peer for rank, peer in self._peers.items() if self._checked - peer.since > self._lease}

    def _claim(self) -> int | None:
        """Claim a unit that no living rank holds."""
        stalled = self._stalled()
        held = {unit for rank, peer in self._peers.items() if rank not in stalled for unit in peer.units} | {
            *self._turns
        }
        turns = sorted((turn + 1, unit) for peer in stalled.values() for unit, turn in peer.units.items())
        left = {unit: turn for turn, unit in turns}
        if not held and self._checked - self._progress[1] > self._lease:
            # A rank may have died between taking or claiming a unit and publishing that it holds it.
            left = {unit: self._next_turn(unit) for unit in range(self._total)}
        for unit, turn in left.items():
            if unit in held or self._ranks.count(f"done/{unit}", 0):
                continue
            if self._ranks.count(f"claim/{unit}/{turn}") == 1:
                return self._hold(unit, turn)
        return None

    def _next_turn(self, unit: int) -> int:
        return next(turn for turn in count(1) if not self._claimed(unit, turn))

    def _claimed(self, unit: int, turn: int) -> bool:
        return self._ranks.count(f"claim/{unit}/{turn}", 0) > 0
