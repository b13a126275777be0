"""How a run scales over ranks: the demo with one and two ranks of torchrun on this machine.

    evalkit demo --out demo
    python scripts/bench_scaling.py --demo demo --tasks chartqa_test_human,refcoco_val

The times are those that each run records in run.json, from its first line to its scores, start of the decoders
included. Ranks on one CPU share its cores: two ranks on two cores have a thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def run(demo: Path, model: str, tasks: str, ranks: int) -> tuple[float, int]:
    """Return the seconds that a run took and its number of samples."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        arguments = ["run", "--model", model, "--tasks", tasks, "--data-root", str(demo), "--out", str(out)]
        line = [*TORCHRUN, "--nproc-per-node", str(ranks), "-m", "evalkit", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the run exited with {done.returncode}: {done.stderr}")
        launch = json.loads((out / "run.json").read_text(encoding="utf-8"))["launches"][-1]
        return float(launch["seconds"]), int(launch["samples"])


def main() -> None:
    """Measure and print a Markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", required=True, type=Path)
    parser.add_argument("--model", help="default: the demo's checkpoint")
    parser.add_argument("--tasks", default="chartqa_test_human,refcoco_val")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = args.model or str(args.demo / "checkpoint")
    rows = []
    for ranks in args.ranks:
        seconds, samples = run(args.demo, model, args.tasks, ranks)
        rows.append({"ranks": ranks, "seconds": seconds, "samples": samples, "samples_per_s": samples / seconds})
    if args.json:
        print(json.dumps({"cores": os.cpu_count(), "tasks": args.tasks, "rows": rows}, indent=1))
        return
    print(f"{args.tasks}, {os.cpu_count()} cores\n\n| ranks | s | samples/s | speed-up |\n|---:|---:|---:|---:|")
    for row in rows:
        speed_up = rows[0]["seconds"] / row["seconds"]
        print(f"| {row['ranks']} | {row['seconds']:.1f} | {row['samples_per_s']:.2f} | {speed_up:.2f}x |")


if __name__ == "__main__":
    main()
