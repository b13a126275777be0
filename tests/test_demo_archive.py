"""The demo's archive: what the drawing code draws, unpacked whole and nowhere else."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest

from evalkit.demo import JUDGES, MARKER, write_demo
from evalkit.errors import UsageError
from scripts.demo.build import pack
from scripts.demo.layout import write_all
from tests.conftest import REPO, SMALL_DEMO, contents


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo as ``evalkit demo`` writes it."""
    return write_demo(tmp_path_factory.mktemp("whole") / "demo").data_root


def pinned(package: str) -> bool:
    lines = (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return f"{package}=={version(package)}" in lines


def frames(content: bytes) -> np.ndarray[Any, Any]:
    """Return the pixels of an image or clip, whatever wrote it."""
    with av.open(io.BytesIO(content)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def words(content: bytes, suffix: str) -> pd.DataFrame:
    """Return a table without its pictures."""
    data = io.BytesIO(content)
    found = pd.read_csv(data, sep="\t", dtype=str) if suffix == ".tsv" else pd.read_parquet(data)
    pictures = [name for name in found if str(name).startswith("image")]
    shown: pd.DataFrame = found.drop(columns=pictures)
    return shown


def test_the_archive_is_what_is_drawn(whole: Path, tmp_path: Path) -> None:
    """Byte for byte with the pinned Pillow, PyAV and PyArrow; others may write the same pictures as other bytes."""
    write_all(tmp_path / "drawn")
    drawn, archived = contents(tmp_path / "drawn"), contents(whole)
    assert list(drawn) == list(archived)
    differing = [name for name in drawn if drawn[name] != archived[name]]
    exact = all(map(pinned, ("pillow", "av", "pyarrow")))
    assert not (differing and exact), f"python -m scripts.demo.build ({differing[:3]} ...)"
    for name in differing:
        if (suffix := Path(name).suffix) in (".tsv", ".parquet"):
            assert words(drawn[name], suffix).equals(words(archived[name], suffix)), name
        else:
            assert np.abs(frames(drawn[name]) - frames(archived[name])).mean() < 2, name


def test_packing_is_deterministic(tmp_path: Path) -> None:
    write_all(tmp_path, {**SMALL_DEMO, "mmvet": 4})
    content = pack(tmp_path)
    assert pack(tmp_path) == content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names[0] == MARKER and names[1:] == sorted(names[1:])
    assert {name.split("/")[0] for name in names[1:]} == {"data", JUDGES}
    assert {(member.mtime, member.uid, member.gid, member.mode) for member in members} == {(0, 0, 0, 0o644)}


def test_an_interrupted_demo_is_completed(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, written = Path.write_bytes, []

    def full_disk(path: Path, content: Any) -> int:
        written.append(path)
        if len(written) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, content)

    with monkeypatch.context() as patch, pytest.raises(UsageError, match="cannot be written: No space left"):
        patch.setattr(Path, "write_bytes", full_disk)
        write_demo(tmp_path)
    assert len(contents(tmp_path)) == 20 and (tmp_path / MARKER).exists()
    written[1].write_text("damaged", encoding="utf-8")
    write_demo(tmp_path)
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../outside.txt"),
        tarfile.TarInfo("/outside.txt"),
        tarfile.TarInfo("data/../../outside.txt"),
        tarfile.TarInfo("data/link"),
    ],
    ids=lambda member: member.name,
)
def test_an_archive_cannot_write_elsewhere(
    member: tarfile.TarInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if member.name.endswith("link"):
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    monkeypatch.setattr("evalkit.demo.ARCHIVE", tmp_path / "data.tar.xz")
    with tarfile.open(tmp_path / "data.tar.xz", "w:xz") as archive:
        archive.addfile(tarfile.TarInfo(MARKER))
        archive.addfile(member)
    with pytest.raises(UsageError, match="unexpected member"):
        write_demo(tmp_path / "demo")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data.tar.xz", "demo", MARKER]


def test_a_damaged_archive_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.demo.ARCHIVE", tmp_path / "data.tar.xz")
    for content in (None, b"", b"not an archive"):
        if content is not None:
            (tmp_path / "data.tar.xz").write_bytes(content)
        with pytest.raises(UsageError, match=r"data\.tar\.xz cannot be read: "):
            write_demo(tmp_path / "demo")


def test_only_an_empty_folder_or_this_demo_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(UsageError, match="not empty"):
        write_demo(tmp_path)
    (tmp_path / MARKER).write_text(json.dumps({"demo": "evalkit", "version": 0}), encoding="utf-8")
    with pytest.raises(UsageError, match="not empty"):
        write_demo(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        write_demo(tmp_path / "mine.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "mine.txt"]


def test_importing_the_package_is_light() -> None:
    code = "import sys, evalkit.demo; print([m for m in ('torch', 'av', 'PIL', 'tokenizers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
