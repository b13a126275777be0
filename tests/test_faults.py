"""Real jobs in which a rank is killed or stopped, or the launcher is killed: no answer lost, given twice or changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.cli.main import main
from evalkit.data.root import DataRoot
from evalkit.plugins import load_tasks
from tests.conftest import REPO, write_jsonl

TASKS = ("docvqa_test", "refcoco_val", "refcoco_testA")

# Answers from records, slowly, once both ranks are there; the victim sends itself a signal at its third answer, in the
# middle of a group.
SCRIPT = """
import os, sys, time
from pathlib import Path
from evalkit.cli.main import main
from evalkit.models.replay import ReplayModel
whole, asked = ReplayModel.answer, 0
def answer(self, groups):
    global asked
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    while len(list(out.glob(".ranks/*.json"))) < int(os.environ.get("WORLD_SIZE", "1")):
        time.sleep(0.05)
    for item in whole(self, groups):
        asked += 1
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if asked == 3 and first and os.environ.get("RANK") == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))
        time.sleep(0.1)
        yield item
ReplayModel.answer = answer
if __name__ == "__main__":
    sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("slow") / "slow.py"
    script.write_text(SCRIPT)
    return script


@pytest.fixture(scope="module")
def command(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run of recorded answers, without its --out."""
    records = tmp_path_factory.mktemp("records") / "run"
    tasks = load_tasks()
    for name in TASKS:
        samples = tasks[name].load(DataRoot(demo))
        lines: list[dict[str, object]] = [
            {"id": sample.id, "response": f"[[{i}, 2, 300, 999]]"} for i, sample in enumerate(samples)
        ]
        write_jsonl(records / name / "predictions.jsonl", lines)
    return ["run", "--model", f"replay:{records}", "--data-root", str(demo), "--tasks", ",".join(TASKS), "--out"]


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main([*command, str(out)]) == 0
    return content(out)


def content(out: Path) -> dict[str, str]:
    files = [*out.glob("*/predictions.jsonl"), *out.glob("*/scores.jsonl"), out / "scores.json"]
    return {str(file.relative_to(out)): file.read_text(encoding="utf-8") for file in files}


def check(out: Path, whole: dict[str, str]) -> None:
    assert content(out) == whole
    for task in TASKS:
        shards = sorted((out / task / "shards").glob("*.jsonl"))
        ids = [json.loads(line)["id"] for shard in shards for line in shard.read_text(encoding="utf-8").splitlines()]
        assert len(ids) == len(set(ids)) == whole[f"{task}/predictions.jsonl"].count("\n")


@pytest.fixture
def port() -> Iterator[int]:
    """A store that outlives every rank, as that of torchrun's agent."""
    from torch._C._distributed_c10d import TCPStore

    store = TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
    yield store.port
    del store


@pytest.mark.parametrize(("victim", "number"), [(1, signal.SIGKILL), (1, signal.SIGSTOP), (0, signal.SIGSTOP)])
def test_the_others_finish_without_a_rank(
    victim: int, number: int, slow: Path, command: list[str], whole: dict[str, str], port: int, tmp_path: Path
) -> None:
    """Ranks of two nodes, as it were: nobody ends the one when the other is lost."""
    out = tmp_path / "run"
    line = [sys.executable, str(slow), str(victim), str(int(number)), *command, str(out), "--lease", "10"]
    ranks = []
    for rank in range(2):
        place = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ranks.append(
            subprocess.Popen(
                line, stderr=subprocess.PIPE, text=True, cwd=REPO, env=os.environ | place | agent | address
            )
        )
    _, errors = ranks[1 - victim].communicate(timeout=300)
    assert ranks[1 - victim].returncode == 0, errors
    assert f"rank {victim} (process {ranks[victim].pid} on" in errors
    assert "sent no heartbeat for 10 s; its last group: data/" in errors
    check(out, whole)
    if number == signal.SIGSTOP:  # it wakes up when all is done: it adds nothing and leaves
        assert ranks[victim].poll() is None
        ranks[victim].send_signal(signal.SIGCONT)
    ranks[victim].communicate(timeout=60)
    assert ranks[victim].returncode == (0 if number == signal.SIGSTOP else -signal.SIGKILL)
    check(out, whole)


def test_rank_0_leaves_cleanly_while_it_answers_knocks() -> None:
    """A thread in torch's store at the end of the interpreter would abort the process."""
    code = (
        "import time\n"
        "from torch._C._distributed_c10d import TCPStore\n"
        "from evalkit.inference.ranks import _attempt\n"
        "store = TCPStore('127.0.0.1', 0, None, is_master=True, wait_for_workers=False)\n"
        "_attempt(store, 0, 10**6, 20)\n"
        "time.sleep(0.5)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=False)
    assert (done.returncode, done.stderr) == (0, "")


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def test_torchrun_brings_a_killed_rank_back(
    slow: Path, command: list[str], whole: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    line = [*TORCHRUN, "--max-restarts", "1", str(slow), "1", str(int(signal.SIGKILL)), *command, str(out)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=REPO, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    check(out, whole)
    asked = [launch.get("samples") for launch in json.loads((out / "run.json").read_text())["launches"]]
    assert len(asked) == 2 and 0 < asked[1] < 44


def test_after_the_launcher_is_killed_the_same_command_continues_at_once(
    slow: Path, command: list[str], whole: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    launcher = subprocess.Popen(
        [*TORCHRUN, str(slow), "none", "0", *command, str(out)], stderr=subprocess.DEVNULL, cwd=REPO
    )
    while len([s for s in out.glob("*/shards/*.jsonl") if b"\n" in s.read_bytes()]) < 2 and launcher.poll() is None:
        time.sleep(0.02)
    launcher.kill()
    launcher.wait()
    line = [sys.executable, "-m", "evalkit", *command, str(out)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=REPO, timeout=300, check=False)
    assert done.returncode == 0 and ": 0 already answered" not in done.stderr, done.stderr
    check(out, whole)
