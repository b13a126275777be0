"""The grouped engine: every answer is the one its prompt gets alone, regardless of what else is in flight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import torch

from evalkit.demo import CHECKPOINT
from evalkit.errors import ModelUnavailable
from evalkit.inference.worker import robust_answers
from evalkit.models import load_model
from evalkit.models.base import MediaGroup
from evalkit.models.internvl2 import engine as engines
from evalkit.models.internvl2.cache import KVCache, token_bytes
from evalkit.models.internvl2.engine import Engine, Group
from evalkit.models.internvl2.generation import Answer, Prompt, answer_alone
from evalkit.models.internvl2.model import InternVL2Model
from evalkit.records import Generation, Outcome, Request
from scripts import bench_engine
from scripts.bench_engine import Load, gap, grouped, measure, table, unavoidable
from scripts.random_checkpoint import write_random

ENOUGH = 1 << 30


@pytest.fixture(scope="module")
def model() -> InternVL2Model:
    model: InternVL2Model = load_model(str(CHECKPOINT), device="cpu", dtype="float32")
    return model


def some_groups(model: InternVL2Model, seed: int, count: int = 6) -> list[Group]:
    """Groups of one to nine prompts, with and without media, with long and short answers and prefixes."""
    rng = Random(seed)
    width = model.network.language_model.config.hidden_size
    groups = []
    for number in range(count):
        images = rng.choice((0, 1, 2))
        context = [model.context_id] * (16 * images)
        start = [rng.randrange(300, 900) for _ in range(rng.randint(1, 30))]
        prompts = [
            Prompt(
                start + context + [rng.randrange(300, 900) for _ in range(rng.randint(1, 12))],
                rng.randint(1, 12),
                rng.choice((0, 1, 12)),
            )
            for _ in range(rng.choice((1, 2, 3, 9)))
        ]
        features = torch.randn(len(context), width, generator=torch.Generator().manual_seed(seed + number))
        groups.append(Group(number, prompts, images, features if images else None))
    return groups


def one_by_one(model: InternVL2Model, groups: list[Group]) -> dict[tuple[int, int], Answer]:
    language = model.network.language_model
    return {
        (group.key, row): answer_alone(
            language, prompt, group.media if isinstance(group.media, torch.Tensor) else None,
            model.context_id, model.end_id,
        )
        for group in groups
        for row, prompt in enumerate(group.prompts)
    }  # fmt: skip


def engine_of(model: InternVL2Model, budget: int = ENOUGH, fixed: bool = False) -> Engine:
    return Engine(model.engine.decoder, model.engine.encode, model.context_id, model.end_id, budget, 32, fixed)


def together(engine: Engine, groups: list[Group]) -> dict[tuple[int, int], Answer]:
    answers = [((item.key, item.row), item.answer) for item in engine.answer(groups)]
    assert len(dict(answers)) == len(answers)
    return dict(answers)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fixed", [False, True])
def test_answers_are_those_of_each_prompt_alone(seed: int, fixed: bool, model: InternVL2Model) -> None:
    groups = some_groups(model, seed)
    assert together(engine_of(model, fixed=fixed), groups) == one_by_one(model, groups)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("budget", [1, 300_000, 2_000_000])
def test_little_memory_changes_no_answer(budget: int, fixed: bool, model: InternVL2Model) -> None:
    groups = some_groups(model, 9)
    assert together(engine_of(model, budget, fixed), groups) == one_by_one(model, groups)


@pytest.mark.parametrize("fixed", [False, True])
def test_prompts_without_anything_in_common(fixed: bool, model: InternVL2Model) -> None:
    """The second group takes over the slot of one that had a prefix."""
    first = Group(0, [Prompt([500, 501, 502, 503], 2, 2)], 0, None)
    second = Group(1, [Prompt([400, 401], 4, 4), Prompt([410, 411, 412], 4, 4)], 0, None)
    groups = [first, second]
    engine = engine_of(model, 1, fixed)
    assert together(engine, groups) == one_by_one(model, groups)


def test_rows_are_admitted_as_others_finish(model: InternVL2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "CPU_ROWS", 4)
    sizes = []
    whole = engines._Session._step

    def step(self: engines._Session, last: torch.Tensor, early: torch.Tensor) -> torch.Tensor:
        sizes.append(len(last))
        return whole(self, last, early)

    monkeypatch.setattr(engines._Session, "_step", step)
    groups = [group._replace(prompts=[p for p in group.prompts for _ in (0, 1)]) for group in some_groups(model, 3)]
    assert together(engine_of(model), groups) == one_by_one(model, groups)
    assert max(sizes) == 4 and sum(sizes) > 2.5 * len(sizes)


def test_groups_are_taken_only_when_they_fit(model: InternVL2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "CPU_ROWS", 2)
    groups = [Group(n, [Prompt([400 + n, 500], 5, 5)], 0, None) for n in range(6)]
    taken = []

    def source() -> Iterator[Group]:
        for group in groups:
            taken.append(group.key)
            yield group

    answers = engine_of(model).answer(source())
    next(answers)
    assert taken == [0, 1, 2]  # two in flight, and the next pending
    assert len(list(answers)) == 5 and taken == list(range(6))


def test_the_budget_holds(model: InternVL2Model) -> None:
    """The caches stay within the budget, unless one group alone needs more."""
    engine = engine_of(model, 4_000_000)
    groups = some_groups(model, 5, 12)
    unit = token_bytes(model.network.language_model.config, torch.float32)
    most = 0
    session = engines._Session(engine, iter(groups), None)
    with torch.inference_mode():
        for _ in session.run():
            taken = sum(one.cache.prefix + one.cache.rows * one.cache.own for one in session.allocations)
            most = max(most, unit * taken)
    assert engine.budget / 10 < most <= engine.budget


def test_running_out_of_memory_shrinks_the_batch(model: InternVL2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(str(CHECKPOINT), device="cpu", dtype="float32")
    admit = model.engine.decoder.admit

    def narrow(cache: KVCache, slot: int, rows: list[int], suffixes: list[torch.Tensor]) -> torch.Tensor:
        if len(rows) > 2:
            raise torch.OutOfMemoryError("out of memory, injected")
        return admit(cache, slot, rows, suffixes)

    monkeypatch.setattr(model.engine.decoder, "admit", narrow)
    before = model.engine.budget
    requests = [Request("t", number, str(number), f"Say {number}.", (), Generation(3)) for number in range(7)]
    responses = dict(robust_answers(model, [MediaGroup(requests[:6], []), MediaGroup(requests[6:], [])]))
    assert sorted(request.index for request in responses) == list(range(7))
    assert {response.outcome for response in responses.values()} <= {Outcome.OK, Outcome.TRUNCATED}
    assert model.engine.budget < before and model.engine.max_rows < engines.CPU_ROWS


def test_a_prompt_that_cannot_be_asked_costs_only_itself(model: InternVL2Model) -> None:
    texts = ["Say it.", "Say <IMG_CONTEXT>.", "Say that."]
    requests = [Request("t", number, str(number), text, (), Generation(2)) for number, text in enumerate(texts)]
    outcomes = {request.id: response.outcome for request, response in model.answer([MediaGroup(requests, [])])}
    assert outcomes["1"] is Outcome.MODEL_ERROR and len(outcomes) == 3
    (alone,) = [response for _, response in model.answer([MediaGroup(requests[1:2], [])])]
    assert alone.outcome is Outcome.MODEL_ERROR and "IMG_CONTEXT" in (alone.reason or "")


def test_the_benchmark_asks_both_engines_the_same(tmp_path: Path) -> None:
    model = load_model(str(write_random(tmp_path, "tiny", torch.float32)), device="cpu", dtype="float32")
    load = Load((3, 1), 2, 2, 3)
    row = measure(model, "made up", load, speed=1e9)
    assert (row.questions, row.groups, row.equal, row.gaps) == (4, 2, 1.0, ())
    assert min(row.reference_s, row.grouped_s, row.ratio, row.peak_share) > 0
    groups = bench_engine.make_groups(model, load)
    answers = grouped(model, groups)
    other = Answer([answers[0, 0].ids[0], *(token + 1 for token in answers[0, 0].ids[1:])], False)
    assert gap(model, groups[0], 0, answers[0, 0], other) >= 0  # of the second step, where they part
    assert unavoidable(model, groups) > unavoidable(model, groups[:1]) > 0
    assert len(list(table([row]))) == 3


def test_a_lost_device_ends_the_rank(model: InternVL2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nand more")

    request = Request("t", 0, "0", "?", (), Generation(4))
    for chosen in (model, model.reference()):
        monkeypatch.setattr(chosen.engine, "answer", lost)
        monkeypatch.setattr("evalkit.models.internvl2.model.answer_alone", lost)
        with pytest.raises(ModelUnavailable, match=r"cpu is lost \(CUDA error: an illegal memory access"):
            list(robust_answers(chosen, [MediaGroup([request], [])]))


def test_what_the_engine_cannot_do_is_that_samples_failure(model: InternVL2Model) -> None:
    requests = [
        Request("t", 0, "warm", "?", (), Generation(2, temperature=0.5)),
        Request("t", 1, "own", "?", (), Generation(2), system="Be brief."),
    ]
    found = {request.id: response for request, response in model.answer([MediaGroup(requests, [])])}
    assert found["warm"].outcome is Outcome.MODEL_ERROR and "temperature 0.5" in found["warm"].reason
    plain = Request("t", 1, "own", "?", (), Generation(2))
    ((_, other),) = model.answer([MediaGroup([plain], [])])
    assert found["own"].prompt_tokens != other.prompt_tokens
