"""Draws the data of the examples: python examples/draw.py D."""

import json
import sys
from pathlib import Path

from PIL import Image

RECORDS: dict[str, list[dict[str, object]]] = {
    "brighter/test.jsonl": [
        {"first": "data/brighter/0.png", "second": "data/brighter/1.png", "answer": "2"},
        {"first": "data/brighter/2.png", "second": "data/brighter/0.png", "answer": "1"},
    ],
    "captions/test.jsonl": [
        {"image": "data/captions/red.png", "answer": "a red square"},
        {"image": "data/captions/blue.png", "answer": "a blue square"},
    ],
    "pope/coco_pope_random.json": [
        {"question_id": 1, "image": "red.png", "text": "Is there a red square in the image?", "label": "yes"},
        {"question_id": 2, "image": "red.png", "text": "Is there a dog in the image?", "label": "no"},
        {"question_id": 3, "image": "blue.png", "text": "Is there a blue square in the image?", "label": "yes"},
        {"question_id": 4, "image": "blue.png", "text": "Is there a cat in the image?", "label": "no"},
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
    for folder in (root / "data" / "captions", root / "data" / "coco" / "val2014"):
        folder.mkdir(parents=True, exist_ok=True)
        for colour in ("red", "blue"):
            Image.new("RGB", (48, 48), colour).save(folder / f"{colour}.png")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
