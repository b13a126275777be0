"""What a user sees while a run works: progress lines, and ``status`` from another terminal."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from evalkit.inference.progress import Progress
from evalkit.inference.ranks import Ranks
from evalkit.records import Generation, Outcome, Request, Response
from evalkit.runs.heartbeat import FOLDER, Heartbeat
from evalkit.runs.status import run_status, status_lines
from tests.conftest import Cli


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Shared(Ranks):
    """One of two ranks of a process, with counters that both see."""

    def __init__(self, rank: int, counters: dict[str, int]) -> None:
        super().__init__(rank, 2)
        self._counters = counters


def request(task: str, index: int) -> Request:
    return Request(task, index, str(index), "q", (), Generation(10))


def answer(progress: Progress, task: str, index: int) -> None:
    progress.start_group([request(task, index)], 7)
    progress.add(task, Response(str(index), "x", output_tokens=5))


def test_one_process_shows_a_line_per_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    ranks = Ranks()
    progress = Progress({"a": 9, "b": 1}, {"a": 2, "b": 1}, ranks, tmp_path)
    for task, index in (("a", 0), ("b", 0), ("a", 1)):
        answer(progress, task, index)
    counts = progress.share()
    progress.close()
    text = screen.getvalue()
    assert "a: 100%" in text and "b: 100%" in text and "2/2" in text and "1/1" in text
    assert "tiles/s" in text and "tokens/s" in text and "samples/s" in text
    assert counts == {"samples": 3, "tiles": 21, "output_tokens": 15, "prompt_tokens": 0}


def test_rank_0_shows_all_ranks_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("evalkit.inference.progress.SHARE_S", 0.0)
    counters: dict[str, int] = {}
    both = [Progress({"a": 4}, {"a": 4}, Shared(rank, counters), tmp_path) for rank in (1, 0)]
    answer(both[0], "a", 0)
    assert screen.getvalue() == "", "rank 1 is silent"
    for index in (1, 2, 3):
        answer(both[1], "a", index)
    for progress in both:
        progress.share()
        progress.close()
    text = screen.getvalue()
    assert "2 ranks: 100%" in text and "4/4" in text and "a:" not in text
    assert counters["samples"] == 4 and counters["tiles"] == 28


def test_no_line_if_stderr_is_not_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress({"a": 1}, {"a": 1}, Ranks(), tmp_path)
    answer(progress, "a", 0)
    progress.close()
    assert capsys.readouterr().err == ""


def test_a_heartbeat_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    Heartbeat(tmp_path / "file" / "rank0.json", {"rank": 0}).close()
    Heartbeat(tmp_path / "ok" / "rank0.json", {"rank": 0}).close()
    content = json.loads((tmp_path / "ok" / "rank0.json").read_text())
    assert content["rank"] == 0 and abs(content["updated"] - time.time()) < 60
    assert [path.name for path in (tmp_path / "ok").iterdir()] == ["rank0.json"], "no temporary file is left"


def test_status_of_a_finished_run(gold_run: Path, cli: Cli) -> None:
    done = cli("status", gold_run, "--json")
    status = json.loads(done.stdout)
    scores = json.loads((gold_run / "scores.json").read_text())
    assert status["finished"] and {task["task"]: task["answered"] for task in status["tasks"]} == {
        name: summary["n"] for name, summary in scores.items()
    }
    assert [rank["state"] for rank in status["ranks"]] == ["finished"]
    assert all(task["total"] == task["answered"] for task in status["tasks"])
    text = cli("status", gold_run).stdout
    assert "finished" in text and "100.0 %" in text
    missing = cli("status", gold_run / "nowhere")
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1


@pytest.fixture
def interrupted(gold_run: Path, tmp_path: Path) -> Path:
    """A run of five ranks in its midst: live, stalled, killed, silent on another machine, and one to come."""
    run = tmp_path / "run"
    record = json.loads((gold_run / "run.json").read_text())
    tasks = record["settings"]["tasks"]
    record["settings"]["tasks"] = {name: tasks[name] for name in ("textvqa_val", "mvbench")}
    now = time.time()
    started = datetime.fromtimestamp(now - 1000, timezone.utc).isoformat(timespec="seconds")
    record["launches"] = [{"command": [], "started": started, "ranks": 5}]
    (run / FOLDER).mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(record))
    shutil.copytree(gold_run / "textvqa_val" / "shards", run / "textvqa_val" / "shards")
    broken = {"id": "new", "response": "", "outcome": Outcome.MEDIA_ERROR.value, "reason": "x.jpg: cut short"}
    with (run / "textvqa_val" / "shards" / "rank1.jsonl").open("w") as file:
        file.write(json.dumps(broken) + "\n" + '{"id": "torn", "resp')
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = socket.gethostname()
    places = [(here, os.getpid(), 0, 0), (here, os.getpid(), 0, 900), (here, dead.pid, 0, 5), ("elsewhere", 1, 90, 95)]
    for rank, (host, pid, silent, idle) in enumerate(places):
        state = {
            "rank": rank, "ranks": 5, "host": host, "pid": pid, "started": now - 990, "updated": now - silent,
            "state": "answering", "totals": {"textvqa_val": 100, "mvbench": 50}, "answered": 10, "open": 150,
            "last_answer": now - idle, "group": ["textvqa_val", "17"],
        }  # fmt: skip
        (run / FOLDER / f"rank{rank}.json").write_text(json.dumps(state))
    stale = {"rank": 4, "started": now - 5000, "updated": now - 4000}
    (run / FOLDER / "rank4.json").write_text(json.dumps(stale))
    return run


def test_status_of_a_run_at_work(interrupted: Path, gold_run: Path) -> None:
    status = run_status(interrupted)
    assert [rank["state"] for rank in status["ranks"]] == ["live", "stalled", "dead", "silent"]
    text, video = status["tasks"]
    assert text["answered"] == len((gold_run / "textvqa_val" / "predictions.jsonl").read_text().split("\n")[:-1])
    assert (
        text["total"] == 100 and text["failed"] == {"media_error": 1} and text["reasons"] == ["new: x.jpg: cut short"]
    )
    assert (video["answered"], video["total"], video["failed"]) == (0, 50, {})
    assert status["samples_per_s"] == pytest.approx(20 / 990, abs=2e-3)
    lines = "\n".join(status_lines(status))
    assert "rank 1 stalled" in lines and "at textvqa_val 17" in lines and "1 media_error" in lines
    assert (
        "failed new: x.jpg: cut short" in lines
        and "1 rank(s) have not started answering" in lines
        and "s left" in lines
    )
