"""The card file: complete against the published numbers, and strict about mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit.card import Card, load_card
from evalkit.errors import InputError
from evalkit.registry import load_tasks
from tests.conftest import REPO

TEXT = (REPO / "configs" / "cards" / "internvl2.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("internvl2")


@pytest.fixture(scope="module")
def published(shared: Path) -> Any:
    return yaml.safe_load((shared / "published.yaml").read_text(encoding="utf-8"))


@pytest.mark.shared_data
def test_every_published_number_is_there(card: Card, published: Any) -> None:
    rows = {row.id: row for row in card.rows()}
    compared = 0
    for table in ("image_benchmarks", "video_benchmarks"):
        for name, row in published[table]["rows"].items():
            for model, value in row["values"].items():
                if isinstance(value, dict) and name == "mmmu_val":
                    single = value.get("single")
                    for side in ("internvl", "vlmevalkit"):
                        assert rows[f"mmmu_val_{side}"].published[model] == value.get(side, single)
                else:
                    number = value["use"] if isinstance(value, dict) else value
                    assert rows[name].published[model] == number, (name, model)
                compared += 1
    grounding = published["grounding_benchmarks"]
    for model, values in grounding["rows"].items():
        for column, value in zip(grounding["columns"], values, strict=True):
            name = "refcoco_avg" if column == "avg" else column
            assert rows[name].published[model] == value
            compared += 1
    assert compared == 18 * 4 + 5 * 4 + 9 * 11
    assert {flag.id: flag.detail for flag in card.flags} == {flag["id"]: flag["detail"] for flag in published["flags"]}
    assert card.logs == published["expected_logs"]
    used = {flag for row in card.rows() for flag in row.flags}
    assert used == {flag.id for flag in card.flags}


@pytest.mark.shared_data
def test_models_stand_in_the_cards_order(card: Card, published: Any) -> None:
    for table, name in zip(card.tables, ("image", "video"), strict=False):
        assert [model.name for model in table.models] == published[f"{name}_benchmarks"]["models"]
    assert [model.name for model in card.tables[2].models] == list(published["grounding_benchmarks"]["rows"])


@pytest.mark.parametrize(
    ("task", "tiles", "frames", "tokens"),
    [
        ("docvqa_val", 18, 0, 100),
        ("docvqa_test", 18, 0, 100),
        ("chartqa_test_human", 12, 0, 100),
        ("textvqa_val", 6, 0, 10),
        ("mmbench_dev_en", 6, 0, 100),
        ("ccbench_dev", 6, 0, 100),
        ("mvbench", 1, 16, 1000),
        ("refcocog_test", 6, 0, 100),
    ],
)
def test_recipes(card: Card, task: str, tiles: int, frames: int, tokens: int) -> None:
    recipe = card.recipe(task)
    assert recipe is not None
    assert (recipe.max_tiles, recipe.frames, recipe.max_new_tokens) == (tiles, frames, tokens)
    assert recipe.thumbnail and recipe.min_new_tokens == 1


def test_every_task_has_a_recipe_and_every_row_a_task(card: Card) -> None:
    for name in load_tasks():
        assert card.recipe(name) is not None, name
    assert card.rows_of("refcoco_val") == ["refcoco_avg", "refcoco_val"]
    assert "docvqa_val" not in card.tasks()


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("max_tiles:", "max_tilse:", ["max_tilse: unknown key", "did you mean 'max_tiles'", "max_new_tokens", "LINE"]),
        ("label:", "lable:", ["lable: unknown key", "did you mean 'label'", "LINE"]),
        ("max_tiles: 18", "max_tiles: many", ["max_tiles", "valid integer", "'many'", "LINE"]),
        ("max_tiles: 18", 'max_tiles: "18"', ["max_tiles", "valid integer", "LINE"]),
        ("          max_new_tokens: 100\n", "", ["max_new_tokens", "required"]),
        ("PaliGemma-3B: 68.1", "PaliGemma-3B: high", ["PaliGemma-3B", "valid number", "LINE"]),
        ("{media}{question} A", "{media}{questoin} A", ["unknown {questoin}", "allowed"]),
        ("{media}{question} A", "{media} A", ["holds no {question}"]),
        ("{media}{question} A", "{media}{question A", ["prompt: expected '}'"]),
        ("tile_size: 448", "tile_size: 448\ntile_size: 3", ["'tile_size' occurs twice"]),
        ("name: internvl2", "name: [a", ["not valid YAML"]),
        ("also: [docvqa_val]", "also: [textvqa_val]", ["'textvqa_val' has another recipe"]),
        ("id: chartqa_test", "id: docvqa_test", ["row id 'docvqa_test' occurs twice"]),
        ("flags: [mmvet", "flags: [mmvetx", ["no flag of the card"]),
    ],
)
def test_mistakes(old: str, new: str, parts: list[str], tmp_path: Path) -> None:
    assert old in TEXT
    path = tmp_path / "card.yaml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    with pytest.raises(InputError) as caught:
        load_card(str(path))
    message = str(caught.value)
    assert "\n" not in message and "card.yaml" in message
    for part in parts:
        assert (f"card.yaml:{line}:" if part == "LINE" else part) in message


@pytest.mark.parametrize("content", [b"", b"[]", b"- a\n- b", b"a: b: c", b"\x00", b"\xff\xfe", b"[" * 5000])
def test_no_card_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_card(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_card_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=re.escape("known cards: internvl2")):
        load_card("internvl9")
