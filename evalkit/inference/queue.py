"""The units of work that ranks share: each is leased to the rank that took it, and goes on if that rank does not.

Ranks take units from a counter. Each publishes which units it holds and a beat, a number that grows as long as its main
loop moves. A rank whose beat stands still for the time of a lease is stalled or dead: idle ranks claim its units, each
unit by exactly one of them, and the former holder, should it wake up, finds the claim before it writes another answer.
Nobody waits for a rank: the run ends when every unit is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any

from evalkit.inference.ranks import Ranks

# At most this often a beat is published, and at least this often the others are looked at (two messages a rank).
BEAT_S = 0.5
LOOK_S = 30.0
IDLE_S = 0.1
# Share of what each rank would get of the rest that a rank may hold in hand.
HOLD = 0.5


def may_hold(held: float, cost: float, left: float, world: int) -> bool:
    """Return whether a rank may take a unit beside those it holds.

    A rank that decodes ahead or works on many units together must not hold what others will soon lack: with a heavy
    tail, the costliest units would all wait behind each other in the first rank's hands.

    Args:
        held: cost of the units it holds.
        cost: of the next unit.
        left: of that and all units after it.
        world: number of ranks.
    """
    return world == 1 or held + cost <= HOLD * left / world


@dataclass(slots=True)
class _Seen:
    """What this rank last saw of another: its beat, since when, and the units it holds with their turns."""

    beat: int
    since: float
    units: dict[int, int]
    known_as: str


class WorkQueue:
    """One rank's end of the queue.

    Args:
        ranks: the job's processes.
        costs: of each unit, in the order in which they are taken; only their proportions matter.
        lease: seconds without a sign of life after which a rank's units are given to others.
        name: what a unit is called in a message.
        known_as: how a person finds this process.
        say: writes a line for people.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        ranks: Ranks,
        costs: Sequence[float],
        lease: float,
        name: Callable[[int], str],
        known_as: str,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ranks = ranks
        self._total = len(costs)
        self._costs = costs
        self._left = list(accumulate(reversed(costs)))[::-1]  # cost of each unit and all after it
        self._lease = lease
        self._name = name
        self._known_as = known_as
        self._say = say
        self._clock = clock
        self._turns: dict[int, int] = {}  # units this rank holds, and how often each was claimed from another before
        self._fresh = True  # whether the counter may still have units
        self._beats = 0
        self._published = self._looked = clock()
        self._progress = (0, clock())  # units done, and since when
        self._seen: dict[int, _Seen] = {}
        self._publish()

    def take(self) -> int | None:
        """Return the next unit for this rank; None if there is none to take now, or it should not hold more."""
        looked = self._look()
        if self._fresh and self._turns and not self._plenty():
            return None
        if self._fresh:
            unit = self._ranks.count("taken") - 1
            if unit < self._total:
                return self._hold(unit, 0)
            self._fresh = False
        return self._claim() if looked else None

    def _plenty(self) -> bool:
        unit = self._ranks.count("taken", 0)
        if unit >= self._total:
            return True  # the counter will say so
        held = sum(self._costs[number] for number in self._turns)
        return may_hold(held, self._costs[unit], self._left[unit], self._ranks.world)

    def taken_over(self, unit: int) -> bool:
        """Return whether a unit was claimed from another rank, which may have answered part of it."""
        return self._turns[unit] > 0

    def owns(self, unit: int) -> bool:
        """Return whether a unit is still this rank's; to be asked before an answer is kept. It is a sign of life."""
        self.beat()
        return unit in self._turns

    def finish(self, unit: int) -> None:
        """Mark a unit as done, if it is still this rank's."""
        self.beat()
        if self._turns.pop(unit, None) is not None and self._ranks.count(f"done/{unit}") == 1:
            self._ranks.count("done")

    def beat(self) -> None:
        """Give a sign of life."""
        if self._clock() - self._published > min(BEAT_S, self._lease / 10):
            self._publish()

    def all_done(self) -> bool:
        """Return whether every unit is done, by whichever rank."""
        done = self._ranks.count("done", 0)
        if done != self._progress[0]:
            self._progress = (done, self._clock())
        return done >= self._total

    def idle(self) -> None:
        """Wait a moment, alive."""
        self.beat()
        time.sleep(min(IDLE_S, self._lease / 20))

    def leads(self) -> bool:
        """Return whether this rank finishes the run: rank 0, or the first that sees rank 0 stalled. Waits for that."""
        while self._ranks.rank and not self._ranks.count("led", 0):
            if self._look() and 0 in self._stalled():
                break
            self.idle()
        return self._ranks.count("led") == 1

    def _hold(self, unit: int, turn: int) -> int:
        self._turns[unit] = turn
        self._publish()
        return unit

    def _publish(self) -> None:
        """Publish a beat and the units held. After a long silence those that were claimed meanwhile are let go."""
        if self._clock() - self._published > self._lease / 2:
            self._turns = {unit: turn for unit, turn in self._turns.items() if not self._claimed(unit, turn + 1)}
        self._beats += 1
        self._published = self._clock()
        record = {"beat": self._beats, "units": list(self._turns.items()), "known_as": self._known_as}
        self._ranks.publish(f"rank/{self._ranks.rank}", record)

    def _look(self) -> bool:
        """See who moved, at a tenth of the lease's pace; say once who did not. Return whether it was time to."""
        now = self._clock()
        if now - self._looked < min(LOOK_S, self._lease / 10):
            return False
        if now - self._looked > self._lease:
            self._seen.clear()  # this rank itself stood still, perhaps with the others: all begin anew
        self._looked = now
        for rank in set(range(self._ranks.world)) - {self._ranks.rank}:
            record: Any = self._ranks.look(f"rank/{rank}") or {"beat": 0, "units": [], "known_as": "never seen"}
            if rank not in self._seen or self._seen[rank].beat != record["beat"]:
                self._seen[rank] = _Seen(record["beat"], now, dict(record["units"]), record["known_as"])
        for rank, seen in self._stalled().items():
            if self._ranks.count(f"stalled/{rank}/{seen.beat}") == 1:
                last = f"its last group: {self._name(next(iter(seen.units)))}" if seen.units else "it held no group"
                self._say(
                    f"rank {rank} ({seen.known_as}) gave no sign of life for {self._lease:g} s; {last}; the others "
                    "take its work and will not wait for it"
                )
        return True

    def _stalled(self) -> dict[int, _Seen]:
        return {rank: seen for rank, seen in self._seen.items() if self._looked - seen.since > self._lease}

    def _claim(self) -> int | None:
        """Claim a unit that no living rank holds."""
        stalled = self._stalled()
        held = {unit for rank, seen in self._seen.items() if rank not in stalled for unit in seen.units} | {
            *self._turns
        }
        turns = sorted((turn + 1, unit) for seen in stalled.values() for unit, turn in seen.units.items())
        left = {unit: turn for turn, unit in turns}
        if not held and self._looked - self._progress[1] > self._lease:
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
