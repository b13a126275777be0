"""The demo tells a degraded run from an unchanged one (the whole table: docs/demo.md)."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest
import torch

from evalkit.demo import CHECKPOINT
from scripts.demo.layout import COUNTS, VERSION, WRITERS
from scripts.demo.sensitivity import BASELINE, FAULTS, examine, table
from tests.conftest import REPO

TASKS = ("chartqa_test_human", "textvqa_val")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two tasks of the whole demo, as the baseline answered them."""
    out = tmp_path_factory.mktemp("whole")
    for name in ("chartqa", "textvqa"):
        WRITERS[name](out / "data", COUNTS[name], Random(f"evalkit demo {VERSION} {name}"))
    shutil.copytree(CHECKPOINT, out / "checkpoint")
    return out


def test_an_unchanged_rerun_passes(whole: Path) -> None:
    found = examine("nothing changed", whole, REPO / BASELINE, TASKS)
    assert found.caught == [] and found.changed < 0.01


@pytest.mark.parametrize("fault", ["one tile", "BGR for RGB"])
def test_a_degraded_run_is_caught(fault: str, whole: Path) -> None:
    found = examine(fault, whole, REPO / BASELINE, TASKS)
    assert found.caught and found.changed > 0.1
    assert max(found.drops.values()) > 5
    assert fault in table([found])[-1] and "yes" in table([found])[-1]


def test_every_fault_is_undone() -> None:
    from evalkit import selection
    from evalkit.media import load, tiling
    from evalkit.models.internvl2 import model, network

    def places() -> list[object]:
        parts = (selection, load, tiling, model, network, torch.nn.utils.rnn)
        return [value for part in parts for value in vars(part).values()]

    before = places()
    for fault in FAULTS.values():
        with fault():
            pass
        assert all(one is other for one, other in zip(before, places(), strict=True))
