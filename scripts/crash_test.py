"""Injects faults into demo runs at random times and checks that nothing is lost, answered twice or out of order.

    python scripts/crash_test.py --demo demo --faults 50

Each fault starts the same command with 1 to 3 ranks and, after a random time,

- kills one rank, all ranks, or the launcher with or without its ranks (SIGKILL), sometimes truncating a shard
  as a crash in the middle of a write would;
- kills one rank of a job that torchrun may restart (``--max-restarts``), and lets that job finish;
- stops one rank for good (SIGSTOP), and lets the others finish without it, or exit if rank 0 stops before it has
  planned the work.

A run that has finished, if necessary after five faults, is compared with an undisturbed one, and a new one starts.
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
LEASE_S = 20
PATIENCE_S = 1200
KINDS = ("one rank", "all ranks", "launcher", "launcher and ranks", "one rank, restarted by torchrun", "stalled rank")


class Job:
    """One start of the demo run under torchrun, in its own process group.

    Args:
        demo: the folder written by ``evalkit demo``.
        out: the run folder.
        ranks: number of ranks.
        restarts: how often torchrun may restart the ranks.
    """

    def __init__(self, demo: Path, out: Path, ranks: int, restarts: int = 0) -> None:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        command += ["--max-restarts", str(restarts), "-m", "evalkit", "run", "--card", "internvl2"]
        command += ["--model", str(demo / "checkpoint"), "--data-root", str(demo), "--out", str(out)]
        command += ["--lease", str(LEASE_S)]
        quiet = subprocess.DEVNULL
        self.launcher = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)

    def ranks(self) -> list[int]:
        """Return the process ids of the ranks."""
        command = ["ps", "-o", "pid=", "--ppid", str(self.launcher.pid)]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        return [int(number) for number in listed.stdout.split()]

    def over(self) -> bool:
        """Return whether the launcher has exited."""
        return self.launcher.poll() is not None


def send(number: signal.Signals, victims: list[int]) -> None:
    """Send a signal; ignore processes that have already exited."""
    for victim in victims:
        try:
            os.kill(victim, number)
        except ProcessLookupError:
            continue


def finished(out: Path) -> bool:
    """Return whether the last launch of a run wrote its results."""
    try:
        launches = json.loads((out / "run.json").read_text(encoding="utf-8"))["launches"]
    except FileNotFoundError:
        return False
    return "seconds" in launches[-1]


def fault(demo: Path, out: Path, wait: tuple[float, float], generator: random.Random) -> str:
    """Start a run, break some of it, wait until it has stopped or finished; return what was done."""
    kind = generator.choice(KINDS)
    least = 2 if kind == "stalled rank" else 1
    job = Job(demo, out, generator.randint(least, 3), restarts=3 if "restarted" in kind else 0)
    time.sleep(generator.uniform(*wait))
    ranks = job.ranks()
    if job.over() or not ranks:
        kind = "finished before the fault"
    elif kind == "stalled rank":
        victim = generator.choice(ranks)
        send(signal.SIGSTOP, [victim])
        deadline = time.monotonic() + PATIENCE_S
        while not job.over() and not finished(out) and time.monotonic() < deadline:
            time.sleep(0.2)
        if not finished(out):
            exited = job.over() and victim == min(ranks)
            kind = "stalled rank 0, the others exited" if exited else f"{kind}, NOT FINISHED"
        send(signal.SIGKILL, [*ranks, job.launcher.pid])
    elif kind in ("one rank", "one rank, restarted by torchrun"):
        send(signal.SIGKILL, [generator.choice(ranks)])
    else:
        send(signal.SIGKILL, ([job.launcher.pid] if "launcher" in kind else []) + (ranks if "ranks" in kind else []))
    job.launcher.wait(PATIENCE_S)
    if "restarted" in kind and job.launcher.returncode:
        kind += ", FAILED"
    if kind != "launcher":  # ranks whose launcher is gone exit by themselves
        send(signal.SIGKILL, ranks)
    shards = sorted(out.glob("*/shards/*.jsonl"))
    if shards and kind in KINDS[:2] and generator.random() < 0.3:
        shard = generator.choice(shards)
        os.truncate(shard, max(0, shard.stat().st_size - generator.randint(1, 30)))
        kind += ", shard truncated"
    return kind


def content(out: Path) -> dict[str, str]:
    """Return the files that must not depend on the faults."""
    files = [*out.glob("*/predictions.jsonl"), *out.glob("*/scores.jsonl"), out / "scores.json"]
    return {str(file.relative_to(out)): file.read_text(encoding="utf-8") for file in files if file.exists()}


def check(out: Path, wanted: dict[str, str]) -> Counter[str]:
    """Count what differs from the undisturbed run, and samples that have two answers in the shards."""
    actual = content(out)
    problems = Counter(f"differs: {name}" for name in wanted if actual.get(name) != wanted[name])
    for folder in out.glob("*/shards"):
        ids = Counter(
            json.loads(line)["id"]
            for shard in folder.glob("*.jsonl")
            for line in shard.read_bytes().decode().split("\n")[:-1]
        )
        problems.update({f"answered twice: {folder.parent.name}": sum(count > 1 for count in ids.values())})
    return +problems


def main() -> int:
    """Inject the faults and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True, help="folder written by `evalkit demo --out DEMO`")
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--wait", type=float, nargs=2, default=(4.5, 10.0), metavar=("FROM", "TO"), help="seconds before a fault"
    )
    args = parser.parse_args()
    generator = random.Random(args.seed)
    kinds: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        Job(args.demo, whole, 2).launcher.wait(PATIENCE_S)
        wanted = content(whole)
        runs, since, suspects = 0, Counter[str](), Counter[str]()
        for number in range(1, args.faults + 1):
            out = Path(temporary) / f"run{runs}"
            since[fault(args.demo, out, tuple(args.wait), generator)] += 1
            if finished(out) or since.total() == FAULTS_PER_RUN or number == args.faults:
                Job(args.demo, out, generator.randint(1, 3)).launcher.wait(PATIENCE_S)
                observed = check(out, wanted)
                problems += observed
                kinds += since
                suspects += since if observed else Counter()
                runs, since = runs + 1, Counter()
                print(f"{number} faults, problems: {dict(problems) or 'none'}", file=sys.stderr, flush=True)
    problems.update({kind: count for kind, count in kinds.items() if kind.endswith(("FAILED", "NOT FINISHED"))})
    print("| fault | times | of these in runs that lost, duplicated or changed a sample |\n|---|---:|---:|")
    for kind, count in sorted(kinds.items()):
        print(f"| {kind} | {count} | {suspects[kind]} |")
    print(f"\nOf {len(wanted)} files and their samples, lost, answered twice or different: {sum(problems.values())}.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
