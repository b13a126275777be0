"""Kills demo runs at random moments and checks that nothing is lost, answered twice or out of order.

    python scripts/crash_test.py --demo demo --faults 50

Each fault starts the same run with 1 to 3 ranks and, after a random time, sends SIGKILL to one rank, to all ranks or to
the launcher with all ranks; sometimes the end of a shard is torn off as a crash in the middle of a write would. After
every fifth fault the run is finished and compared with an undisturbed one, and a new one begins.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

FAULTS_PER_RUN = 5


def start(demo: Path, out: Path, ranks: int) -> subprocess.Popen[bytes]:
    """Start a run of the demo under torchrun, in a process group of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += ["-m", "evalkit", "run", "--model", str(demo / "checkpoint"), "--card", "internvl2"]
    command += ["--data-root", str(demo), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def children(process: int) -> list[int]:
    """Return the processes that a process started."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(number) for number in listed.stdout.split()]


def kill(victims: list[int]) -> None:
    """Send SIGKILL; processes that are gone already are none of our business."""
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue


def fault(demo: Path, out: Path, generator: random.Random) -> str:
    """Start a run, kill some of it, wait until it is down; return what was done."""
    launcher = start(demo, out, generator.randint(1, 3))
    time.sleep(generator.uniform(4.5, 10.0))
    ranks = children(launcher.pid)
    kind = generator.choice(["one rank", "all ranks", "launcher and ranks"])
    if launcher.poll() is not None:
        kind = "finished before the fault"
    elif kind == "one rank" and ranks:
        kill([generator.choice(ranks)])
    elif kind == "all ranks":
        kill(ranks)
    else:
        kill([launcher.pid, *ranks])
    launcher.wait()
    kill(ranks)
    shards = sorted(out.glob("*/shards/*.jsonl"))
    if shards and generator.random() < 0.3:
        torn = generator.choice(shards)
        size = torn.stat().st_size
        os.truncate(torn, max(0, size - generator.randint(1, 30)))
        kind += ", shard torn"
    return kind


def content(out: Path) -> dict[str, str]:
    """Return the files that must not depend on what happened."""
    files = [*out.glob("*/predictions.jsonl"), *out.glob("*/scores.jsonl"), out / "scores.json"]
    return {str(file.relative_to(out)): file.read_text(encoding="utf-8") for file in files if file.exists()}


def check(out: Path, wanted: dict[str, str]) -> Counter[str]:
    """Count what differs from the undisturbed run, and samples that have two answers in the shards."""
    found = content(out)
    problems = Counter(f"differs: {name}" for name in wanted if found.get(name) != wanted[name])
    for folder in out.glob("*/shards"):
        ids = Counter(
            json.loads(line)["id"]
            for shard in folder.glob("*.jsonl")
            for line in shard.read_bytes().decode().split("\n")[:-1]
        )
        problems.update({f"answered twice: {folder.parent.name}": sum(count > 1 for count in ids.values())})
    return +problems


def main() -> int:
    """Run the faults and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True, help="what `evalkit demo --out DEMO` wrote")
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    generator = random.Random(args.seed)
    kinds: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        start(args.demo, whole, 2).wait()
        wanted = content(whole)
        for number in range(args.faults):
            out = Path(temporary) / f"run{number // FAULTS_PER_RUN}"
            kinds[fault(args.demo, out, generator)] += 1
            if number % FAULTS_PER_RUN == FAULTS_PER_RUN - 1 or number == args.faults - 1:
                start(args.demo, out, generator.randint(1, 3)).wait()
                problems += check(out, wanted)
                print(f"{number + 1} faults, problems: {dict(problems) or 'none'}", flush=True)
    print("\n| fault | times |\n|---|---:|")
    for kind, count in sorted(kinds.items()):
        print(f"| {kind} | {count} |")
    print(f"\nfiles of {len(wanted)} that differ, samples lost or answered twice: {sum(problems.values())}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
