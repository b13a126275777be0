"""Scoring speed: all 57,457 RefCOCO answers of the card, official and fixed, with intervals, without torch.

    python scripts/bench_score.py

Writes random annotations and answers of the eight official split sizes (7.2 questions per image) to a temporary folder
and scores them as ``evalkit score`` does. Prints seconds and peak memory.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from evalkit.plugins import load_tasks
from evalkit.runs.rescore import Foreign, score_foreign

QUESTIONS_PER_IMAGE = 7


def write_split(folder: Path, name: str, count: int, generator: random.Random) -> Path:
    """Write a split and answers to it, most of them near the gold box; return the answers' file."""
    lines, answers = [], []
    for number in range(count):
        x, y = generator.uniform(0, 400), generator.uniform(0, 300)
        box = [x, y, x + generator.uniform(20, 200), y + generator.uniform(20, 150)]
        image = f"data/coco/train2014/COCO_train2014_{number // QUESTIONS_PER_IMAGE:012d}.jpg"
        lines.append({"image": image, "sent": "it", "bbox": box, "width": 640, "height": 480})
        scale = (640, 480, 640, 480)
        numbers = [round(1000 * value / side + generator.gauss(0, 25)) for value, side in zip(box, scale, strict=True)]
        answers.append({"id": str(number), "response": f"it[{numbers}]"})
    for path, records in ((folder / f"data/refcoco/{name}.jsonl", lines), (folder / f"{name}.jsonl", answers)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return folder / f"{name}.jsonl"


def main() -> None:
    """Score the eight splits; print seconds and peak memory."""
    splits = {name: task.expected_n or 0 for name, task in load_tasks().items() if name.startswith("refcoco")}
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = {name: write_split(folder, name, count, generator) for name, count in splits.items()}
        started = time.perf_counter()
        for name, file in files.items():
            report = score_foreign(Foreign(task=name, predictions=file, data_root=str(folder)))
            summary = report.scores[name]
            low, high = summary.ci95 or (0.0, 0.0)
            print(f"{name:16} {summary.score or 0:6.2f}  95% [{low:.2f}, {high:.2f}]")
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    heavy = sorted({"torch", "transformers", "decord"} & set(sys.modules))
    print(f"{sum(splits.values())} answers in {seconds:.1f} s, peak {peak:.0f} MiB, heavy imports: {heavy or 'none'}")


if __name__ == "__main__":
    main()
