"""Checks that memory stays within the budget of memory_fraction, on the longest inputs of the card.

    python scripts/bench_budget.py --size small --fractions 0.1 0.2 0.4

Each fraction is a process of its own: random weights, then media groups of 24 tiles and a thumbnail with 8 questions
each, and of 16 video frames, more of them than a small budget holds at a time. Prints the peak resident (or, on a
GPU, allocated) memory next to the budget. A budget too small for one group does not stop a run: it then tries one group
with one question at a time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from evalkit.models import load_model
from evalkit.models.internvl2.memory import host_bytes
from scripts.bench_engine import Load, grouped, make_groups
from scripts.random_checkpoint import SIZES, write_random

LONGEST = (Load((8, 8, 8), 25, 1, 4), Load((1, 1), 16, 16, 2))


def measure(folder: str, device: str, dtype: str, fraction: float) -> dict[str, float]:
    """Answer the longest inputs within a budget; return allowed and used MiB, questions, and loading cost."""
    before = peak_bytes()
    model = load_model(folder, device=device, dtype=dtype, memory_fraction=fraction)
    weights = sum(parameter.nbytes for parameter in model.network.parameters())
    loading = (peak_bytes() - before) / weights
    on_gpu = model.device.type == "cuda"
    total = torch.cuda.get_device_properties(model.device).total_memory if on_gpu else host_bytes()
    answered = sum(len(grouped(model, make_groups(model, load))) for load in LONGEST)
    used = torch.cuda.max_memory_allocated() if on_gpu else peak_bytes()
    return {"allowed": total * fraction / 2**20, "used": used / 2**20, "answered": answered, "loading": loading}


def peak_bytes() -> int:
    """Return the peak resident memory of this process; ``getrusage`` would include its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Measure every fraction and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--stored", choices=("float32", "bfloat16"), help="dtype of the checkpoint (default: --dtype)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.2, 0.4])
    parser.add_argument("--within", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.within:
        print(json.dumps(measure(args.within, args.device, args.dtype, args.fractions[0])))
        return
    print("| fraction | allowed MiB | used MiB | questions answered | host memory of loading / weights |")
    print("|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        write_random(Path(folder), args.size, getattr(torch, args.stored or args.dtype))
        for fraction in args.fractions:
            line = [sys.executable, __file__, "--within", folder, "--device", args.device, "--dtype", args.dtype]
            done = subprocess.run([*line, "--fractions", str(fraction)], capture_output=True, text=True, check=True)
            measured = json.loads(done.stdout)
            memory = f"{measured['allowed']:.0f} | {measured['used']:.0f}"
            print(f"| {fraction} | {memory} | {measured['answered']} | {measured['loading']:.2f} |")


if __name__ == "__main__":
    main()
