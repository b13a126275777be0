"""Scores, intervals and p-values of every kind of metric against slow references written from their definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.metrics.metric import Metric, all_right, count, f1, mean, mean_of, precision
from evalkit.metrics.statistics import exchange_test, resampled
from evalkit.metrics.sums import group_sums
from evalkit.records import Outcome, SampleScore
from evalkit.report.compare import compare, row_p_value
from evalkit.scoring import row_interval
from tests.test_metric import MME, line, score_of

METRICS = {
    "mean": mean("m"),
    "included": mean("m", included=lambda one: one.answer != "out"),
    "all_right": all_right("m", "image"),
    "count": count("m", maximum=1000),
    "f1": f1(),
    "precision": precision(),
    "hallusion": mean_of("m", (mean("a"), all_right("b", "figure"), all_right("c", "question"))),
    "mme": MME,
}


def undefined_parts(lines: Sequence[SampleScore]) -> set[str]:
    """Return MME's tasks of which no answer counts: they are worth 0."""
    return {one.keys["task"] for one in lines} - {one.keys["task"] for one in lines if one.answer != "dropped"}


def slow(name: str, lines: Sequence[SampleScore], whole: Sequence[SampleScore] | None = None) -> float:
    """Return a metric of lines straight from its definition; ``whole`` are all lines, of which these may be a draw."""
    whole = whole or lines
    values = [one.value or 0.0 for one in lines]

    def over(key: str, some: Sequence[SampleScore]) -> float:
        sets = {one.keys[key] for one in some}
        worst = [min(one.value or 0.0 for one in some if one.keys[key] == value) for value in sets]
        return 100 * sum(worst) / len(worst) if worst else float("nan")

    def share(some: Sequence[SampleScore]) -> float:
        return 100 * sum(one.value or 0.0 for one in some) / len(some) if some else float("nan")

    if name == "mean":
        return share(lines)
    if name == "included":
        return share([one for one in lines if one.answer != "out"])
    if name == "all_right":
        return over("image", lines)
    if name == "count":
        return sum(values) / len(values) * len(whole)
    if name in ("f1", "precision"):
        positive = [one.keys["label"] == "yes" for one in lines]
        hits = sum(value for value, one in zip(values, positive, strict=True) if one)
        misses = sum(1 - value for value, one in zip(values, positive, strict=True) if one)
        false = sum(1 - value for value, one in zip(values, positive, strict=True) if not one)
        found, among = (2 * hits, 2 * hits + misses + false) if name == "f1" else (hits, hits + false)
        return 100 * found / among if among else 0.0
    if name == "hallusion":
        return (share(lines) + over("figure", lines) + over("question", lines)) / 3
    total = 0.0
    for part in {one.keys["task"] for one in lines} - undefined_parts(whole):
        some = [one for one in lines if one.keys["task"] == part]
        total += share([one for one in some if one.answer != "dropped"]) + over("image", some)
    return total


@st.composite
def score_lines_of_groups(draw: st.DrawFn, groups: int = 4, parts: int = 2) -> list[SampleScore]:
    """Return lines of a few media groups with all the keys that the metrics ask for."""
    lines = []
    for group in range(draw(st.integers(2, groups))):
        for number in range(draw(st.integers(1, 3))):
            keys = {
                "label": draw(st.sampled_from(("yes", "no"))),
                "task": f"t{group % parts}",
                "image": f"{group}",
                "figure": f"{group}/{draw(st.integers(0, 1))}",
                "question": f"{group}/{draw(st.integers(0, 1))}",
            }
            answer = draw(st.sampled_from(("x", "x", "x", "out", "dropped")))
            lines.append(line(f"{group}.{number}", draw(st.sampled_from((0.0, 1.0))), f"g{group}", answer, **keys))
    return lines


def regrouped(lines: Sequence[SampleScore], drawn: Sequence[str]) -> list[SampleScore]:
    """Return the lines of drawn groups; a group that is drawn twice becomes two."""
    return [
        line(one.id, one.value or 0, one.group, one.answer or "", **{
            key: value if key in ("label", "task") else f"{turn}:{value}" for key, value in one.keys.items()
        })
        for turn, group in enumerate(drawn)
        for one in lines
        if one.group == group
    ]  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
@given(lines=score_lines_of_groups())
def test_scores_equal_the_slow_reference(name: str, lines: list[SampleScore]) -> None:
    truth = slow(name, lines)
    assert score_of(METRICS[name], lines) == pytest.approx(0.0 if np.isnan(truth) else truth, abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=8, derandomize=True, deadline=None)
@given(lines=score_lines_of_groups())
def test_resamples_have_the_distribution_of_all_draws(name: str, lines: list[SampleScore]) -> None:
    """Of n groups there are n^n equally likely draws: the resamples' distribution function must be theirs."""
    groups = sorted({one.group for one in lines})
    every = np.array([slow(name, regrouped(lines, drawn), lines) for drawn in product(groups, repeat=len(groups))])
    if name == "mme":  # a part that no resample holds has no score; the reference leaves the part out
        whole = {one.keys["task"] for one in lines} - undefined_parts(lines)
        complete = [
            whole <= {one.keys["task"] for one in lines if one.group in drawn}
            for drawn in product(groups, repeat=len(groups))
        ]
        every = np.where(complete, every, np.nan)
    found = resampled({"t": group_sums(METRICS[name], lines)}, resamples=20_000)
    assert np.isnan(found).mean() == pytest.approx(np.isnan(every).mean(), abs=0.02)
    every, found = every[~np.isnan(every)], found[~np.isnan(found)]
    for edge in np.unique(every.round(6)):
        assert (found <= edge + 1e-5).mean() == pytest.approx((every <= edge + 1e-5).mean(), abs=0.02)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=15, derandomize=True, deadline=None)
@given(lines=score_lines_of_groups(groups=6), data=st.data())
def test_p_values_equal_those_of_all_exchanges(name: str, lines: list[SampleScore], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from((0.0, 1.0)), min_size=len(lines), max_size=len(lines)))
    base = [
        line(one.id, value, one.group, one.answer or "", **one.keys) for one, value in zip(lines, values, strict=True)
    ]
    groups = sorted({one.group for one in lines})

    def gap(swapped: Sequence[str]) -> float:
        run = [other if one.group in swapped else one for one, other in zip(lines, base, strict=True)]
        rest = [one if one.group in swapped else other for one, other in zip(lines, base, strict=True)]
        return slow(name, run) - slow(name, rest)

    chosen = [
        [group for group, take in zip(groups, choice, strict=True) if take]
        for choice in product((0, 1), repeat=len(groups))
    ]
    gaps = np.array([gap(swapped) for swapped in chosen])
    observed = gap(())
    sides = group_sums(METRICS[name], lines), group_sums(METRICS[name], base)
    found = exchange_test({"t": sides})
    if not np.isnan(observed):
        assert found.drop == pytest.approx((~(gaps > observed + 1e-6)).mean(), abs=1e-12)
        assert found.rise == pytest.approx((~(gaps < observed - 1e-6)).mean(), abs=1e-12)


def test_one_question_a_group_is_the_exact_mcnemar_test_for_any_number_of_flips() -> None:
    for worse, better in ((0, 1), (7, 3), (300, 260), (900, 1200)):
        run = [line(str(i), float(i >= worse), str(i)) for i in range(worse + better)]
        base = [line(str(i), float(i < worse), str(i)) for i in range(worse + better)]
        total = worse + better
        tail = sum(comb(total, k) for k in range(worse, total + 1)) / 2**total
        found = exchange_test({"t": (group_sums(mean("m"), run), group_sums(mean("m"), base))})
        assert found.drop == pytest.approx(tail, abs=1e-12)


def drawn_lines(seed: int, n: int, groups: int, right: float) -> list[SampleScore]:
    generator = np.random.default_rng(seed)
    owner = np.random.default_rng(0).integers(0, groups, n)
    label = np.random.default_rng(1).choice(["yes", "no"], n)
    return [
        line(str(i), float(generator.random() < right), f"g{owner[i]}", label=str(label[i])) for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize("metric", [mean("m"), f1()], ids=lambda metric: metric.name)
def test_drawn_exchanges_agree_with_a_slow_permutation_test(metric: Metric) -> None:
    run, base = drawn_lines(3, 240, 40, 0.72), drawn_lines(4, 240, 40, 0.78)
    name = "mean" if metric.is_mean else "f1"
    generator = np.random.default_rng(5)
    observed, as_bad, turns = slow(name, run) - slow(name, base), 0, 2000
    for _ in range(turns):
        swap = {f"g{group}" for group in range(40) if generator.random() < 0.5}
        first = [other if one.group in swap else one for one, other in zip(run, base, strict=True)]
        second = [one if one.group in swap else other for one, other in zip(run, base, strict=True)]
        as_bad += slow(name, first) - slow(name, second) <= observed + 1e-9
    found = exchange_test({"t": (group_sums(metric, run), group_sums(metric, base))}).drop
    assert found == pytest.approx(as_bad / turns, abs=4 * (0.25 / turns) ** 0.5)


def test_p_values_of_f1_are_uniform_under_the_null() -> None:
    found = []
    for trial in range(200):
        run, base = drawn_lines(10 + trial, 120, 30, 0.75), drawn_lines(1000 + trial, 120, 30, 0.75)
        found.append(exchange_test({"t": (group_sums(f1(), run), group_sums(f1(), base))}).drop)
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.045)
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_a_row_is_any_function_of_its_tasks_from_one_joint_draw() -> None:
    """(2 F1 + OCRBench/10) / 2, two of whose tasks share their media groups."""

    def combine(values: Mapping[str, Any]) -> Any:
        return (2 * values["a"] + values["b"] / 10) / 2

    metrics = {"a": f1(), "b": count("right", maximum=1000)}
    runs = [
        {name: drawn_lines(seed + place, 200, 50, right) for place, name in enumerate("ab")}
        for seed, right in ((1, 0.6), (7, 0.9))
    ]
    score = combine({name: score_of(metrics[name], runs[0][name]) for name in "ab"})
    found = row_interval({name: (metrics[name], runs[0][name]) for name in "ab"}, combine).ci95
    assert found is not None and found[0] < score < found[1]
    p_value = row_p_value(metrics, runs[0], runs[1], combine)
    assert p_value is not None and p_value < 0.001
    assert row_p_value(metrics, runs[0], runs[0], combine) == 1.0
    rounded = row_interval(
        {name: (metrics[name], runs[0][name]) for name in "ab"}, lambda values: np.round(combine(values), 1)
    )
    assert rounded.ci95 == pytest.approx(found, abs=0.06)


def test_a_comparison_is_on_the_scale_of_the_metric() -> None:
    metric = count("right", maximum=1000)
    lines = [line(str(i), 1.0, str(i)) for i in range(200)]
    worse = [line(str(i), float(i >= 12), str(i)) for i in range(200)]
    (found,) = compare({"t": worse}, {"t": lines}, {"t": metric}, ({}, {})).tasks
    assert (found.run, found.base, found.difference, found.maximum, found.decimals) == (188, 200, -12, 1000, 0)
    assert found.p_drop == pytest.approx(2**-12)
    (equal,) = compare({"t": lines}, {"t": lines}, {"t": metric}, ({}, {})).tasks
    assert equal.detectable == pytest.approx(5), "five wrong answers, a point each"


def test_a_base_is_counted_in_the_runs_groups() -> None:
    """Older runs have no keys, and may have other groups: their values count in the run's."""
    run = [line(str(i), float(i > 1), f"g{i // 2}", label="yes") for i in range(8)]
    base = [SampleScore(str(i), 1.0, "x", Outcome.OK, "", str(i), None, 1.0, None) for i in range(8)]
    (found,) = compare({"t": run}, {"t": base}, {"t": f1()}, ({}, {})).tasks
    assert found.base == 100 and found.p_drop == pytest.approx(0.5), "both flips are on one image"
