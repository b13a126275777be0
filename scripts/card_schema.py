"""Writes configs/cards/card.schema.json, with which editors check and complete card files."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from evalkit import card, records

PATH = Path(__file__).resolve().parent.parent / "configs" / "cards" / "card.schema.json"


def card_schema() -> dict[str, Any]:
    """Return the JSON schema of a card; descriptions come from the docstrings."""
    schema = card.Card.model_json_schema()
    for name, part in [("Card", schema), *schema["$defs"].items()]:
        text = inspect.getdoc(getattr(card, name, None) or getattr(records, name)) or ""
        summary, _, attributes = text.partition("\n\nAttributes:\n")
        part["description"] = summary
        for described in part["properties"].values():
            described.pop("title", None)  # the key again
        for key, meaning in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
            if key in part["properties"]:
                part["properties"][key]["description"] = " ".join(meaning.split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    PATH.write_text(json.dumps(card_schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
