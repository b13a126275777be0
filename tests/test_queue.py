"""The shared queue and the run folder's lock: each unit is done once, whichever ranks die, stall or resume."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import IncompleteError, UsageError
from evalkit.inference.queue import WorkQueue
from evalkit.inference.ranks import POLL_S, Ranks, _attempt
from evalkit.runs.lock import RunLock
from scripts import simulate_queue
from tests.conftest import REPO

LEASE = 10.0


class Store:
    """Torch's store as the ranks see it, in one process."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def get(self, key: str) -> str:
        return str(self.values[key])

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)

    def add(self, key: str, amount: int) -> int:
        self.values[key] = self.values.get(key, 0) + amount
        return int(self.values[key])


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Job:
    """Several ranks' ends of one queue."""

    def __init__(self, world: int, total: int, costs: Sequence[float] = ()) -> None:
        self.store, self.clock, self.log = Store(), Clock(), list[str]()
        self.queues = [
            WorkQueue(
                Ranks(rank, world, store=self.store),  # type: ignore[arg-type]  # has what is used of torch's store
                costs or [1.0] * total, LEASE, lambda unit: f"unit {unit}", f"process {rank}", self.log.append,
                self.clock,
            )
            for rank in range(world)
        ]  # fmt: skip

    def let_pass(self, seconds: float, *alive: int) -> None:
        """Advance the clock while only some ranks run."""
        for _ in range(round(seconds)):
            self.clock.now += 1
            for rank in alive:
                self.queues[rank].heartbeat()
                self.queues[rank]._check_peers()


def test_each_unit_is_taken_once() -> None:
    job = Job(2, 5)
    taken = []
    for _ in range(3):
        round_of = [queue.take() for queue in job.queues]
        taken += round_of
        for unit, queue in zip(round_of, job.queues, strict=True):
            if unit is not None:
                assert queue.owns(unit) and not queue.taken_over(unit)
                queue.finish(unit)
    assert taken == [0, 1, 2, 3, 4, None]
    assert all(queue.all_done() for queue in job.queues)
    assert job.queues[0].leads() and not job.queues[1].leads()


def test_a_rank_holds_no_more_than_its_share_of_the_rest() -> None:
    """A heavy unit first: nothing waits behind it; of many small ones several are held, towards the end one."""
    job = Job(2, 0, [50.0] + [1.0] * 40)
    assert [job.queues[0].take() for _ in range(3)] == [0, None, None]
    held = []
    while (unit := job.queues[1].take()) is not None:
        held.append(unit)
    assert held == list(range(1, 9))  # eight of forty: a ninth would be more than its share of the rest
    for unit in held:
        job.queues[1].finish(unit)
    while (unit := job.queues[1].take()) is not None and unit < 38:
        job.queues[1].finish(unit)
    assert unit == 38 and job.queues[1].take() is None
    job.queues[0].finish(0)
    assert job.queues[0].take() == 39


def test_a_rank_alone_holds_what_it_likes() -> None:
    job = Job(1, 0, [50.0, 1.0, 1.0])
    assert [job.queues[0].take() for _ in range(4)] == [0, 1, 2, None]


def test_a_stalled_rank_is_reported_once_and_loses_its_units() -> None:
    job = Job(3, 3)
    assert [queue.take() for queue in job.queues] == [0, 1, 2]
    job.let_pass(LEASE - 1, 0, 2)
    assert job.queues[0].take() is None and not job.log
    job.let_pass(3, 0, 2)
    assert job.log == [
        "rank 1 (process 1) sent no heartbeat for 10 s; its last group: unit 1; the other ranks take over its work and "
        "will not wait for it"
    ]
    claimed = []
    for rank in (0, 2, 0, 2):
        job.clock.now += 1
        claimed.append(job.queues[rank].take())
    assert claimed == [1, None, None, None]
    assert job.queues[0].taken_over(1)
    assert not job.queues[1].owns(1)  # it wakes up
    job.queues[1].finish(1)
    assert not job.queues[1].all_done()
    for rank, unit in ((0, 0), (0, 1), (2, 2)):
        assert job.queues[rank].owns(unit)
        job.queues[rank].finish(unit)
    assert job.queues[1].all_done()


def test_a_rank_that_was_slow_but_not_replaced_keeps_its_unit() -> None:
    job = Job(2, 2)
    assert job.queues[1].take() == 0
    job.let_pass(3 * LEASE)
    assert job.queues[1].owns(0)


def test_a_unit_taken_by_a_rank_that_died_at_once_is_found() -> None:
    """It died between the counter and publishing what it holds."""
    job = Job(2, 2)
    job.store.add("taken", 1)
    assert job.queues[0].take() == 1
    job.queues[0].finish(1)
    for _ in range(30):
        job.let_pass(1, 0)
        job.queues[0].all_done()
        job.clock.now += 1
        if (unit := job.queues[0].take()) is not None:
            break
    assert unit == 0 and not job.queues[0].all_done()
    job.queues[0].finish(0)
    assert job.queues[0].all_done()


def test_the_first_that_sees_rank_0_stalled_finishes_the_run() -> None:
    job = Job(3, 0)
    job.let_pass(2 * LEASE, 1, 2)
    job.clock.now += 2
    assert job.queues[2].leads() and not job.queues[1].leads() and not job.queues[0].leads()


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), st.integers(0, 12), st.integers(0, 10**6))
def test_random_deaths_stalls_and_wakings(world: int, total: int, seed: int) -> None:
    """Ranks take, answer and finish in any order; each may stop for ever or for a while at any moment, but for one."""
    generator = random.Random(seed)
    job = Job(world, total)
    immortal = generator.randrange(world)
    asleep = dict.fromkeys(range(world), 0)
    holding: list[list[int]] = [[] for _ in range(world)]
    done: list[int] = []
    for _ in range(2000):
        job.clock.now += 1
        for rank, queue in enumerate(job.queues):
            if asleep[rank] > 0:
                asleep[rank] -= 1
                continue
            if rank != immortal and generator.random() < 0.02:
                asleep[rank] = generator.choice([5, 40, 10**6])
                continue
            queue.heartbeat()
            if holding[rank] and generator.random() < 0.5:
                unit = holding[rank].pop(0)
                if queue.owns(unit):
                    done.append(unit)
                    queue.finish(unit)
            elif (taken := queue.take()) is not None:
                holding[rank].append(taken)
        if job.queues[immortal].all_done() and not holding[immortal]:
            break
    assert sorted(done) == list(range(total))


class SharedStore(Store):
    """A store that is waited on from several threads, with bytes for values as torch's."""

    dead = False

    def check(self, keys: list[str]) -> bool:
        if self.dead:
            raise RuntimeError("Connection reset by peer\nand more")
        return super().check(keys)

    def get(self, key: str) -> Any:
        return str(self.values[key]).encode()


def test_a_lost_store_is_one_line() -> None:
    store = SharedStore()
    store.dead = True
    ranks = Ranks(1, 2, store=store, base_store=store)  # type: ignore[arg-type]  # has what is used of torch's store
    with pytest.raises(
        IncompleteError, match=r"lost connection .* \(Connection reset by peer\).*same command to resume$"
    ):
        ranks.receive("plan")


def test_a_restarted_job_takes_nothing_from_the_one_before() -> None:
    """The agent's store keeps what the dead ranks wrote, and the new ones may come in any order."""
    values: dict[str, Any] = {}
    names = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        store = SharedStore()
        store.values = values
        with ThreadPoolExecutor(3) as pool:
            futures = []
            for rank in order:
                futures.append(pool.submit(_attempt, store, rank, 3, 20))  # type: ignore[arg-type]  # as torch's
                time.sleep(0.05)
            agreed = {future.result() for future in futures}
        store.dead = True
        time.sleep(2 * POLL_S)
        names.append(agreed)
    assert [len(agreed) for agreed in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3


def test_a_rank_that_comes_when_all_is_done_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.inference.ranks.JOIN_S", 0.2)
    store = SharedStore()
    Ranks(0, 2, base_store=store).close()  # type: ignore[arg-type]  # as torch's
    assert _attempt(store, 1, 2, 20) is None  # type: ignore[arg-type]  # as torch's


def test_no_rank_waits_for_a_rank_0_without_heartbeat() -> None:
    dead, alive = SharedStore(), SharedStore()
    with ThreadPoolExecutor(3) as pool:
        waiting = pool.submit(Ranks(1, 2, store=dead, base_store=dead, timeout=1.5).receive, "plan")  # type: ignore[arg-type]
        joining = pool.submit(_attempt, dead, 1, 2, 1.5)  # type: ignore[arg-type]  # as torch's
        for other in (waiting, joining):
            with pytest.raises(IncompleteError, match=r"rank 0 sent no heartbeat for 1.5 s .*same command to resume$"):
                other.result(20)
        # Rank 0 answers, and then plans for longer than that.
        first = pool.submit(_attempt, alive, 0, 2, 1.5)  # type: ignore[arg-type]
        assert pool.submit(_attempt, alive, 1, 2, 1.5).result(20) == first.result(20)  # type: ignore[arg-type]
        planned = pool.submit(Ranks(1, 2, store=alive, base_store=alive, timeout=1.5).receive, "plan")  # type: ignore[arg-type]
        time.sleep(3)
        assert not planned.done()
        alive.set("plan", '"do it"')
        assert planned.result(20) == "do it"
        alive.dead = True


HOLD = "import pathlib, sys, time; from evalkit.runs.lock import RunLock; lock = RunLock(pathlib.Path(sys.argv[1]))"


@pytest.fixture
def holder(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Starts a process that takes the lock in some way, prints a line and stays."""

    def start(how: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", f"{HOLD}; {how}; print('held', flush=True); time.sleep(600)", str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    return start


def test_a_second_job_is_refused_until_the_first_is_dead(
    holder: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    with holder("lock.claim()") as first, holder("lock.join()") as other_rank:
        with pytest.raises(UsageError, match=rf"in use by another job \(process {first.pid} on .*, started 20"):
            RunLock(tmp_path).claim(patience=0.3)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        with pytest.raises(UsageError, match="in use"):  # another rank of the job still writes
            RunLock(tmp_path).claim(patience=0.3)
        os.kill(other_rank.pid, signal.SIGKILL)
    lock = RunLock(tmp_path)
    assert lock.claim(patience=5)
    assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    with pytest.raises(UsageError, match=f"process {os.getpid()}"):
        RunLock(tmp_path).claim(patience=0)
    lock.close()
    assert RunLock(tmp_path).claim(patience=0)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int, kind: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    lock = RunLock(tmp_path)
    assert not lock.claim()
    lock.join()


@pytest.mark.parametrize("ranks", [8, 64])
def test_a_run_ends_evenly(ranks: int) -> None:
    """Simulated: the queue comes within 3 % of ideal on RefCOCO and DocVQA, and beats contiguous shards."""
    generator = np.random.default_rng(1)
    for _, costs in islice(simulate_queue.loads(generator), 2):
        contiguous, queued = simulate_queue.share(costs, generator, ranks)
        assert queued >= 0.97 and queued > contiguous
