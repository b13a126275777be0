"""Measures memory over many samples: a run of recorded responses, and images through a decoder.

    python scripts/bench_memory.py --samples 100000

The first part is ``evalkit run --model replay:...`` on synthetic grounding questions; its resident memory is read from
/proc as the shard grows. The second decodes one image repeatedly through the decoder process of a run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evalkit.data.root import DataRoot
from evalkit.media.decoder import Decoders
from evalkit.records import Media, View

TASK = "refcoco_val"
PER_IMAGE = 7


def write_data(folder: Path, samples: int) -> Path:
    """Write questions and recorded answers; return the answers file."""
    questions = folder / "root" / "data" / "refcoco" / f"{TASK}.jsonl"
    questions.parent.mkdir(parents=True)
    answers = folder / "answers.jsonl"
    with questions.open("w") as data, answers.open("w") as recorded:
        for i in range(samples):
            image = f"data/coco/train2014/{i // PER_IMAGE:012d}.jpg"
            line = {"image": image, "sent": f"the {i}th thing", "bbox": [1, 2, 30, 40], "height": 480, "width": 640}
            data.write(json.dumps(line) + "\n")
            recorded.write(json.dumps({"id": str(i), "response": f"[[{i % 900}, 10, 999, 999]]"}) + "\n")
    return answers


def resident_mib(process: int) -> float:
    """Return the resident memory of a process; 0 if it has exited."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def measure_run(folder: Path, samples: int) -> None:
    """Run; print the memory at each tenth of the answers, and the peak at the end."""
    answers = write_data(folder, samples)
    out = folder / "run"
    command = [sys.executable, "-m", "evalkit", "run", "--model", f"replay:{answers}", "--tasks", TASK]
    command += ["--data-root", str(folder / "root"), "--out", str(out)]
    shard = out / TASK / "shards" / "rank0.jsonl"
    peak = 0.0
    print("answers on disk | MiB resident\n---|---")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as run:
        shown = 0
        while run.poll() is None:
            memory = resident_mib(run.pid)
            written = shard.read_bytes().count(b"\n") if shard.exists() else 0
            if written >= shown * samples / 10 and shown <= 10 and written:
                print(f"{written:,} | {memory:.0f}", flush=True)
                shown = written * 10 // samples + 1
            peak = max(peak, memory)
            time.sleep(0.05)
    print(f"peak, merging and scoring included | {peak:.0f}")
    if run.returncode:
        raise SystemExit(f"the run exited with {run.returncode}")


def measure_decoder(folder: Path, images: int) -> None:
    """Decode an image many times and print the memory of this process and of its decoder."""
    from PIL import Image

    root = DataRoot(folder / "root")
    path = "data/picture.jpg"
    Image.effect_noise((1600, 1200), 60).convert("RGB").save(root.resolve(path))
    view = View(Media(path), 448, 12, True, 0, "segment_middle")
    print("\nimages decoded | MiB of the rank | MiB of its decoder\n---|---|---")
    with Decoders(root) as decoders:
        for done in range(1, images + 1):
            decoders.load(view)
            if done == 1 or done % max(1, images // 5) == 0:
                (child,) = multiprocessing.active_children()
                own = resident_mib(multiprocessing.current_process().pid or 0)
                print(f"{done} | {own:.0f} | {resident_mib(child.pid or 0):.0f}", flush=True)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure_run(Path(temporary), args.samples)
        measure_decoder(Path(temporary), args.images)


if __name__ == "__main__":
    main()
