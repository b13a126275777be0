"""Planning: requests without media form units of limited size, each retried and resumed alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from evalkit.data.root import DataRoot
from evalkit.inference.plan import TEXT_UNIT, Plan, plan
from evalkit.inference.worker import robust_answers
from evalkit.models.base import MediaGroup, Model, Source
from evalkit.plugins import load_tasks
from evalkit.records import Generation, Outcome, Recipe, Request, Response
from evalkit.selection import Job

COUNT = 2 * TEXT_UNIT + 22


class FailsOn(Model):
    """Answers one group at a time; raises if a group has a certain sample."""

    def __init__(self, bad: str) -> None:
        self.bad = bad
        self.taken: list[str] = []

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        for group in groups:
            self.taken += [request.id for request in group.requests]
            if any(request.id == self.bad for request in group.requests):
                raise ValueError("cannot answer that")
            yield from ((request, Response(request.id, "x")) for request in group.requests)


@pytest.fixture
def job() -> Job:
    """A task whose questions have no media."""
    task = load_tasks()["textvqa_val"]
    requests = [Request(task.name, index, str(index), "q", (), Generation(10)) for index in range(COUNT)]
    return Job(task, Recipe(prompt="{question}", max_new_tokens=10), [], requests)


def planned(job: Job, done: set[str], folder: Path) -> Plan:
    return plan([job], {job.task.name: done}, DataRoot(folder), None, Source().cost)


def test_requests_without_media_are_planned_in_units_of_limited_size(job: Job, tmp_path: Path) -> None:
    made = planned(job, set(), tmp_path)
    assert [len(unit) for unit in made.units] == [TEXT_UNIT, TEXT_UNIT, 22]
    assert sorted(index for unit in made.units for _, index in unit) == list(range(COUNT))
    assert made.costs == [round(Source().cost(0, [10] * len(unit)), 2) for unit in made.units]


def test_a_resumed_plan_has_only_the_requests_without_an_answer(job: Job, tmp_path: Path) -> None:
    first, second, third = planned(job, set(), tmp_path).units
    done = {str(index) for _, index in (*first, *third)}
    assert planned(job, done, tmp_path).units == [second]


def test_a_failure_costs_only_its_unit_a_retry(job: Job, tmp_path: Path) -> None:
    units = planned(job, set(), tmp_path).units
    groups = [MediaGroup([job.requests[index] for _, index in unit], []) for unit in units]
    source = iter(groups)
    bad = groups[1].requests[5].id
    model = FailsOn(bad)
    # The loop of a rank: after a failure it goes on with the units that the model had not taken.
    answered = [pair for _ in range(2) for pair in robust_answers(model, source)]
    outcomes = {request.id: response.outcome for request, response in answered}
    assert len(outcomes) == len(answered) == COUNT
    assert [name for name, outcome in outcomes.items() if outcome is not Outcome.OK] == [bad]
    retried = {name for name in model.taken if model.taken.count(name) > 1}
    assert bad in retried and retried <= {request.id for request in groups[1].requests}
