"""Draws the few pictures and questions that the examples ask about: python examples/draw.py D."""

import json
import sys
from pathlib import Path

from PIL import Image

RECORDS = {
    "brighter/test.jsonl": [
        {"first": "data/brighter/0.png", "second": "data/brighter/1.png", "answer": "2"},
        {"first": "data/brighter/2.png", "second": "data/brighter/0.png", "answer": "1"},
    ],
    "captions/test.jsonl": [
        {"image": "data/captions/red.png", "answer": "a red square"},
        {"image": "data/captions/blue.png", "answer": "a blue square"},
    ],
}


def draw(root: Path) -> None:
    """Write the questions and pictures of all examples under a data root."""
    for name, records in RECORDS.items():
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    for number, grey in enumerate((60, 120, 240)):
        Image.new("L", (64, 48), grey).save(root / "data" / "brighter" / f"{number}.png")
    for colour in ("red", "blue"):
        Image.new("RGB", (48, 48), colour).save(root / "data" / "captions" / f"{colour}.png")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
