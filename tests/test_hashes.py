"""Hashes of weights: computed once for each state of a file, and right whatever became of the cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from evalkit.data import hashes
from evalkit.data.hashes import cached_sha256
from evalkit.models.internvl2.source import checkpoint_sha256


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    os.utime(path, ns=(10**18, 10**18))
    return path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_hash_is_computed_once(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    assert cached_sha256(weights, cache) == digest(b"one")

    def forbidden(path: Path) -> str:
        raise AssertionError(f"{path} was read again")

    with monkeypatch.context() as patch:
        patch.setattr(hashes, "file_sha256", forbidden)
        assert cached_sha256(weights, cache) == digest(b"one")
    weights.write_bytes(b"two")
    os.utime(weights, ns=(10**18, 2 * 10**18))
    assert cached_sha256(weights, cache) == digest(b"two")
    weights.write_bytes(b"three")
    os.utime(weights, ns=(10**18, 2 * 10**18))
    assert cached_sha256(weights, cache) == digest(b"three")


def test_a_file_that_may_still_change_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "fresh"
    path.write_bytes(b"one")
    assert cached_sha256(path, tmp_path / "cache") == digest(b"one")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"no hash", b"\xff" * 64, b"A" * 64])
def test_a_corrupt_cache_is_none(content: bytes, weights: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cached_sha256(weights, cache)
    (entry,) = cache.iterdir()
    entry.write_bytes(content)
    assert cached_sha256(weights, cache) == digest(b"one") == entry.read_text()


def test_an_unwritable_cache_is_none(weights: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert cached_sha256(weights, blocked / "cache") == digest(b"one")


def test_the_index_of_sharded_weights_belongs_to_a_checkpoint(weights: Path) -> None:
    (weights.parent / "model.safetensors.index.json").write_text("{}")
    found = checkpoint_sha256(weights.parent)
    assert found == {"model.safetensors": digest(b"one"), "model.safetensors.index.json": digest(b"{}")}
