"""The card file: complete against the published numbers, strict about mistakes (file, line, key, what is allowed)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit.card import Card, load_card
from evalkit.errors import UsageError
from evalkit.plugins import load_tasks
from tests.conftest import REPO

TEXT = (REPO / "configs" / "cards" / "internvl2.yaml").read_text(encoding="utf-8")
TEXTVQA = "PaliGemma-3B: 68.1"
PROMPT = '"{media}{question} Answer'
SHORT = "Answer the question using a single word or phrase."


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("internvl2")


@pytest.fixture(scope="module")
def published(shared: Path) -> Any:
    return yaml.safe_load((shared / "published.yaml").read_text(encoding="utf-8"))


def refusal(text: str, folder: Path) -> str:
    path = folder / "card.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_card(str(path))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}:")
    return message.removeprefix(f"{path}:")


@pytest.mark.parametrize(
    ("old", "new", "key", "problem"),
    [
        (TEXTVQA, "PaliGamma-3B: 68.1", "tables.0.rows.3.published.PaliGamma-3B", "no model of its table"),
        (TEXTVQA, "PaliGemma-3B: 681", "tables.0.rows.3.published.PaliGemma-3B", "not within 0 and the row's maximum"),
        (TEXTVQA, "PaliGemma-3B: .nan", "tables.0.rows.3.published.PaliGemma-3B", "finite number"),
        (TEXTVQA, "PaliGemma-3B: -.inf", "tables.0.rows.3.published.PaliGemma-3B", "finite number"),
        ("id: chartqa_test", "id: docvqa_test", "tables.0.rows.1.id", "row id 'docvqa_test' occurs twice"),
        ("id: video\n", "id: image\n", "tables.1.id", "table id 'image' occurs twice"),
        ("[mmvet_turbo_1b", "[mmvet_turbo_2b", "tables.0.rows.14.flags.0", "no flag of the card"),
        ("model: InternVL2-1B", "model: InternVL9", "model", "model of none of the tables"),
        (
            PROMPT,
            '"{media}{questoin} Answer',
            "tables.0.rows.0.recipe.prompt",
            "unknown {questoin}; allowed: {media}, {question}",
        ),
        (PROMPT, '"{media}{question}} Answer', "tables.0.rows.0.recipe.prompt", "Single '}'"),
        (PROMPT, '"{media}{{question}} Answer', "tables.0.rows.0.recipe.prompt", "holds no {question}"),
        (PROMPT, '"{media}{question!r} Answer', "tables.0.rows.0.recipe.prompt", "take no format"),
        ('"Frame{i}: <image>\\n"', '"Frame{n}: <image>\\n"', "tables.1.rows.0.recipe.media_prompt", "allowed: {i}"),
        ("max_tiles: 18", "max_tiles: 0", "tables.0.rows.0.recipe.look.max_tiles", "greater than or equal to 1"),
    ],
)
def test_an_error_names_line_and_key(old: str, new: str, key: str, problem: str, tmp_path: Path) -> None:
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    message = refusal(TEXT.replace(old, new, 1), tmp_path)
    assert message.startswith(f"{line}: {key}: ")
    assert problem in message


def test_a_lost_number_is_named(tmp_path: Path) -> None:
    line = TEXT[: TEXT.index(TEXTVQA)].count("\n")  # the line of `published:`, just above
    message = refusal(TEXT.replace(f"          {TEXTVQA}\n", "", 1), tmp_path)
    assert message.startswith(f"{line}: tables.0.rows.3.published: no number for 'PaliGemma-3B'")


def test_two_recipes_for_one_task_name_both_rows(tmp_path: Path) -> None:
    row = TEXT.index("- id: textvqa_val")
    line = TEXT[: TEXT.index("recipe:", row)].count("\n") + 1
    message = refusal(TEXT.replace("also: [docvqa_val]", "also: [textvqa_val]", 1), tmp_path)
    assert message.startswith(f"{line}: tables.0.rows.3.recipe: task 'textvqa_val' has another recipe")
    assert "(docvqa_test)" in message


def test_an_unknown_key_of_a_recipe_lists_the_allowed_ones(tmp_path: Path) -> None:
    line = TEXT[: TEXT.index("max_tiles: 18")].count("\n") + 1
    message = refusal(TEXT.replace("max_tiles: 18", "max_tils: 18", 1), tmp_path)
    assert message.startswith(f"{line}: tables.0.rows.0.recipe.look.max_tils: unknown key; did you mean 'max_tiles'?")
    assert message.endswith("allowed: max_tiles, thumbnail, enlarge, first, keep_mode, jpeg, merge, frames, frame_rule")


def test_a_key_like_no_other_gets_no_suggestion(tmp_path: Path) -> None:
    message = refusal(TEXT.replace("tile_size: 448", "tile_size: 448\nzzz: 1", 1), tmp_path)
    assert "zzz: unknown key; allowed: name, title, model" in message


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{max_tiles: 18}", "{<<: {max_tiles: 18}}", "merge keys are not allowed"),
        ("max_tiles: 18", "max_tiles: 18,\n frames: 0,\n frames: 8", "'frames' occurs twice"),
        ("title: InternVL2-1B model card", "title: 2026-13-45", "cannot be read: month must be in 1..12"),
        ("tile_size: 448", f"tile_size: {'9' * 5000}", "cannot be read: Exceeds the limit"),
        ("tile_size: 448", "? [a]\n: 1", "a key must be a plain text"),
    ],
)
def test_what_yaml_would_swallow_or_choke_on(old: str, new: str, problem: str, tmp_path: Path) -> None:
    last = TEXT[: TEXT.index(old)].count("\n") + 1 + (new.count("\n") if "twice" in problem else 0)
    message = refusal(TEXT.replace(old, new, 1), tmp_path)
    assert message.startswith(f"{last}: ")
    assert problem in message


@pytest.mark.parametrize("text", ["", "# nothing but this\n", "---\n"])
def test_an_empty_file_is_no_card(text: str, tmp_path: Path) -> None:
    message = refusal(text, tmp_path)
    assert message.startswith("1: ")


@pytest.mark.parametrize("name", ["", "../internvl2", "no/such.yaml", "a\0b", "internvl9"])
def test_a_card_that_is_not_there_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match="known cards: internvl2"):
        load_card(name)


@pytest.mark.parametrize(
    ("tasks", "prompt"),
    [
        (("docvqa_val", "chartqa_test_human", "infovqa_test", "textvqa_val", "mme"), f"{{media}}{{question}} {SHORT}"),
        (
            ("mmbench_dev_en", "mmbench_test_en"),
            "{media}{question}\nAnswer with the option's letter from the given choices directly.",
        ),
        (("mmbench_dev_cn", "mmbench_test_cn", "ccbench_dev"), "{media}{question}\n请直接回答选项字母。"),
        (("mmvet",), "{media}{question} "),
        (
            ("refcoco_val", "refcoco+_testB", "refcocog_test"),
            "{media}Please provide the bounding box coordinate of the region this sentence describes: "
            "<ref>{question}</ref>",
        ),
        (
            ("mvbench",),
            "{media}Carefully watch the video and pay attention to the cause and sequence of events, the detail and "
            "movement of objects, and the action and pose of persons. Based on your observations, select the best "
            "option that accurately addresses the question.\n\n{question}\nOnly give the best option.",
        ),
    ],
)
def test_prompts_are_the_protocols_to_the_letter(card: Card, tasks: tuple[str, ...], prompt: str) -> None:
    for task in tasks:
        recipe = card.recipe(task)
        assert recipe is not None
        assert recipe.prompt == prompt
        assert recipe.media_prompt == ("Frame{i}: <image>\n" if recipe.look.frames else "<image>\n")


@pytest.mark.shared_data
def test_labels_metrics_and_sizes_are_the_cards(card: Card, published: Any) -> None:
    for place, part in enumerate(("image_benchmarks", "video_benchmarks")):
        table, wanted = card.tables[place], published[part]
        assert {model.name: model.size_b for model in table.models} == wanted["model_size_b"]
        labels = list(dict.fromkeys(row.card_label or row.label for row in table.rows))
        assert labels == [row["card_label"] for row in wanted["rows"].values()]
        for row in table.rows:
            source = wanted["rows"].get(row.id)
            if source is not None:
                assert (row.metric, row.toolkit) == (source["metric"], source["toolkit"])
                assert "note" not in source or source["note"] == row.note
    columns = ["refcoco_avg", *published["grounding_benchmarks"]["columns"][1:]]
    assert [row.id for row in card.tables[2].rows] == columns
    assert card.tables[2].models_as_rows


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
    assert (recipe.look.max_tiles, recipe.look.frames, recipe.max_new_tokens) == (tiles, frames, tokens)
    assert recipe.look.thumbnail and recipe.min_new_tokens == 1


def test_every_task_has_a_recipe_and_every_row_a_task(card: Card) -> None:
    for name in load_tasks():
        assert card.recipe(name) is not None, name
    assert card.rows_of("refcoco_val") == ["refcoco_avg", "refcoco_val"]
    assert "docvqa_val" not in card.tasks()


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("max_tiles:", "max_tilse:", ["max_tilse: unknown key", "did you mean 'max_tiles'", "keep_mode", "LINE"]),
        ("label:", "lable:", ["lable: unknown key", "did you mean 'label'", "LINE"]),
        ("max_tiles: 18", "max_tiles: many", ["max_tiles", "valid integer", "'many'", "LINE"]),
        ("max_tiles: 18", 'max_tiles: "18"', ["max_tiles", "valid integer", "LINE"]),
        ("          max_new_tokens: 100\n", "", ["max_new_tokens", "required"]),
        ("PaliGemma-3B: 68.1", "PaliGemma-3B: high", ["PaliGemma-3B", "valid number", "LINE"]),
        ("{media}{question} A", "{media} A", ["holds no {question}"]),
        ("{media}{question} A", "{media}{question A", ["prompt: expected '}'"]),
        ("tile_size: 448", "tile_size: 448\ntile_size: 3", ["'tile_size' occurs twice"]),
        ("name: internvl2", "name: [a", ["not valid YAML"]),
    ],
)
def test_mistakes(old: str, new: str, parts: list[str], tmp_path: Path) -> None:
    assert old in TEXT
    path = tmp_path / "card.yaml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    with pytest.raises(UsageError) as caught:
        load_card(str(path))
    message = str(caught.value)
    assert "\n" not in message and "card.yaml" in message
    for part in parts:
        assert (f"card.yaml:{line}:" if part == "LINE" else part) in message


@pytest.mark.parametrize("content", [b"", b"[]", b"- a\n- b", b"a: b: c", b"\x00", b"\xff\xfe", b"[" * 5000])
def test_no_card_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_card(str(path))
    assert "\n" not in str(caught.value)
