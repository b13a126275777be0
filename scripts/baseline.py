"""Copies a run folder as a baseline for version control, without machine-specific data.

    python scripts/baseline.py runs/demo results/demo-baseline

Kept are run.json, scores.json, card.md and each task's predictions, scores and judgements; of the data root only the
last folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

FILES = (
    "scores.json", "card.md", "*/predictions.jsonl", "*/scores.jsonl", "*/judged/*/judge.json",
    "*/judged/*/replies.jsonl",
)  # fmt: skip


def keep(run: Path, out: Path) -> None:
    """Copy the files of a run that a comparison reads."""
    if out.exists():
        shutil.rmtree(out)
    for path in (path for pattern in FILES for path in sorted(run.glob(pattern))):
        copy = out / path.relative_to(run)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["data_root"] = Path(record["data_root"]).name
    for launch in record["launches"]:
        launch["command"] = [Path(part).name if Path(part).is_absolute() else part for part in launch["command"]]
    (out / "run.json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Copy one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    keep(args.run, args.out)


if __name__ == "__main__":
    main()
