"""Decoding in child processes: the same pixels, and a file that hangs or crashes its decoder costs that file only."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalkit.data.root import DataRoot
from evalkit.errors import MediaError, UsageError
from evalkit.media import decoder
from evalkit.media.decoder import Decoders
from evalkit.media.load import load, probe
from evalkit.plugins import load_tasks
from evalkit.records import Media, View
from evalkit.selection import build_jobs, select
from tests.conftest import REPO

MEDIA_KINDS = ("image", "row", "video", "gif", "frames")


def view(path: str, tiles: int = 6) -> View:
    return View(Media(path), 112, tiles, True, 0, "segment_middle")


def stop_children() -> None:
    """Make every decoder hang."""
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)


def send_half_an_answer(pipe: Connection, root: DataRoot, limit: float) -> None:
    """Stand in for ``_serve``: the first bytes are there, the rest never comes."""
    pipe.send(True)
    pipe.recv()
    pipe.send(("pixels", [(1, 112, 112, 3)]))
    os.write(pipe.fileno(), bytes(1000))
    time.sleep(600)


def end_stopped(child: int) -> None:
    """Let a stopped decoder crash the moment that it goes on."""
    for number in (signal.SIGSEGV, signal.SIGCONT):
        os.kill(child, number)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    root = tmp_path_factory.mktemp("images")
    (root / "data").mkdir()
    Image.new("RGB", (50, 40), "red").save(root / "data" / "red.png")
    (root / "data" / "broken.jpg").write_bytes(b"\xff\xd8\xff no jpeg")
    return DataRoot(root)


def test_pixels_and_layouts_are_those_of_the_same_process(demo: Path) -> None:
    """Images, table rows, videos, gifs and folders of frames of the demo, asked by several threads at once."""
    root = DataRoot(demo)
    jobs = build_jobs(select("internvl2", (), (), root), root, None, 112)
    asked = dict.fromkeys(item for job in jobs for request in job.requests for item in request.views)
    views = [item for kind in MEDIA_KINDS for item in [view for view in asked if view.media.kind == kind][:6]]
    assert {item.media.kind for item in views} == set(MEDIA_KINDS)
    with Decoders(root) as decoders, ThreadPoolExecutor(3) as pool:
        pixels = list(pool.map(decoders.load, views))
        layouts = list(pool.map(decoders.probe, views))
    assert layouts == [probe(item, root) for item in views]
    for item, found in zip(views, pixels, strict=True):
        expected = load(item, root)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == np.uint8 and ours.flags.writeable
            np.testing.assert_array_equal(ours, theirs)


def test_a_decoder_that_hangs_is_ended_and_replaced(images: DataRoot) -> None:
    with Decoders(images, limit=3) as decoders:
        decoders.load(view("data/red.png"))
        stop_children()
        with pytest.raises(MediaError, match=r"data/red\.png: decoder killed after 3 s"):
            decoders.load(view("data/red.png"))
        assert not multiprocessing.active_children()
        assert decoders.load(view("data/red.png"))[0].shape == (1, 112, 112, 3)


def test_a_decoder_that_hangs_while_it_sends_is_ended_and_replaced(
    images: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Decoders(images, limit=3) as decoders:
        with monkeypatch.context() as patch:
            patch.setattr(decoder, "_serve", send_half_an_answer)
            with pytest.raises(MediaError, match=r"data/red\.png: decoder killed after 3 s"):
                decoders.load(view("data/red.png"))
        assert not multiprocessing.active_children()
        assert decoders.load(view("data/red.png"))[0].shape == (1, 112, 112, 3)


def test_a_decoder_that_crashes_is_replaced(images: DataRoot) -> None:
    with Decoders(images) as decoders:
        decoders.load(view("data/red.png"))
        (child,) = multiprocessing.active_children()
        stop_children()
        assert child.pid is not None
        threading.Timer(0.5, end_stopped, (child.pid,)).start()
        with pytest.raises(MediaError, match=r"data/red\.png: its decoder crashed \(SIGSEGV\)"):
            decoders.load(view("data/red.png"))
        assert decoders.load(view("data/red.png"))[0].shape == (1, 112, 112, 3)


def test_errors_are_those_of_the_same_process(images: DataRoot) -> None:
    with Decoders(images) as decoders:
        for path in ("data/broken.jpg", "data/absent.png", "../red.png"):
            with pytest.raises(MediaError) as here:
                load(view(path), images)
            with pytest.raises(MediaError) as there:
                decoders.load(view(path))
            assert str(here.value) == str(there.value)
        with pytest.raises(UsageError, match="leaves the data root"):
            decoders.probe(view("../red.png"))
        assert decoders.layout_of(view("../red.png")) is None and decoders.probe(view("data/absent.png")) is None
        assert len(multiprocessing.active_children()) == 1


def test_a_pipe_or_device_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data" / "pipe.jpg")
    root = DataRoot(tmp_path)
    for ask in (load, probe):
        with pytest.raises(MediaError, match="not a regular file"):
            ask(view("data/pipe.jpg"), root)


def test_a_decoder_ends_with_its_parent(images: DataRoot) -> None:
    code = (
        "import multiprocessing, os, signal, sys\n"
        "from evalkit.data.root import DataRoot\n"
        "from evalkit.media.decoder import Decoders\n"
        "from tests.test_decoder import view\n"
        "if __name__ == '__main__':\n"
        "    decoders = Decoders(DataRoot(sys.argv[1]))\n"
        "    decoders.load(view('data/red.png'))\n"
        "    print(multiprocessing.active_children()[0].pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(images.given)], capture_output=True, text=True, cwd=REPO)
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 10
    while Path(f"/proc/{int(done.stdout)}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    state = Path(f"/proc/{int(done.stdout)}/stat")
    assert not state.exists() or state.read_text().split(")")[1].split()[0] == "Z"  # nobody may be there to reap it


def test_a_run_goes_on_after_decoders_hang(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    tasks = ("docvqa_test", "chartqa_test_human", "mmbench_test_en", "refcoco_val", "refcoco_testA")
    command = [sys.executable, "-m", "evalkit", "run", "--model", str(demo / "checkpoint"), "--data-root", str(demo)]
    command += ["--tasks", ",".join(tasks), "--out", str(out), "--media-timeout", "5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=REPO) as run:
        while not list(out.glob("*/shards/*")) and run.poll() is None:
            time.sleep(0.01)
        for child in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split():
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                os.kill(int(child), signal.SIGSTOP)
        try:
            _, errors = run.communicate(timeout=300)
        finally:
            run.kill()
    assert run.returncode == 3 and "Traceback" not in errors, errors
    files = [out / task / "scores.jsonl" for task in tasks]
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    failed = [record for record in records if record["outcome"] == "media_error"]
    known = load_tasks()
    assert len(records) == sum(len(list(known[task].load(DataRoot(demo)))) for task in tasks)
    assert 0 < len(failed) < len(records)
    for record in failed:
        assert record["reason"].startswith("data/") and "decoder killed after 5 s" in record["reason"]
