"""Reference engine against grouped engine on the same samples, in one process and one run.

    python scripts/bench_engine.py --model demo/checkpoint --data-root demo --tasks refcoco_val --limit 20

The reference engine is the official loop: one question at a time, every image encoded anew. Media are decoded before
either is timed. Prints samples/s of both, their ratio, and how many answers differ (with bfloat16 near-ties may).
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

from evalkit.commands.job import build_jobs, select
from evalkit.data.root import DataRoot
from evalkit.media.load import load
from evalkit.models import DTYPES, load_model
from evalkit.models.base import Pixels
from evalkit.models.internvl2.model import InternVL2Model
from evalkit.records import Request
from evalkit.requests import layout_of
from evalkit.run.plan import plan

Work = list[tuple[list[Request], Pixels]]


def answers(model: InternVL2Model, work: Work) -> tuple[dict[tuple[str, str], str], float]:
    """Return the answers by (task, id) and the seconds they took."""
    started = time.perf_counter()
    found = {
        (request.task, request.id): response.response
        for requests, pixels in work
        for request, response in model.answer(requests, pixels)
    }
    return found, time.perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-root", required=True, type=Path)
    parser.add_argument("--tasks", required=True, help="comma-separated")
    parser.add_argument("--card", default="internvl2")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=DTYPES)
    args = parser.parse_args()

    model = load_model(args.model, device=args.device, dtype=args.dtype)
    root = DataRoot(args.data_root)
    jobs = build_jobs(select(args.card, args.tasks.split(","), (), root), root, args.limit, model.config.tile_size)
    requests = {job.task.name: job.requests for job in jobs}
    groups = [
        [requests[task][index] for task, index in unit] for unit in plan(jobs, {}, root, partial(layout_of, root=root))
    ]
    work = [(group, [tiles for view in group[0].views for tiles in load(view, root)]) for group in groups]
    tiles = sum(len(image) for _, pixels in work for image in pixels)
    samples = sum(len(group) for group in groups)
    print(f"{samples} samples on {len(groups)} media groups, {tiles} tiles; {model.device}, {model.dtype}")

    answers(model, work[:1])  # warm-up
    timings = {}
    texts = {}
    for engine in ("grouped", "reference"):
        model.shared = engine == "grouped"
        texts[engine], timings[engine] = answers(model, work)
        print(f"{engine:9}  {timings[engine]:8.2f} s  {samples / timings[engine]:8.3f} samples/s")
    differing = sum(texts["grouped"][key] != text for key, text in texts["reference"].items())
    print(f"ratio {timings['reference'] / timings['grouped']:.2f}x; {differing} of {samples} answers differ")


if __name__ == "__main__":
    main()
