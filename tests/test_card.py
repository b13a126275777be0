"""The card file: complete against the published numbers, strict about mistakes, little of it compulsory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evalkit.card import Card, Row, load_card
from evalkit.cli.main import main
from evalkit.errors import UsageError
from evalkit.plugins import load_tasks
from scripts.card_schema import PATH, card_schema
from tests.conftest import REPO, Cli

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
    (message,) = refusals(text, folder)
    return message


def refusals(text: str, folder: Path) -> list[str]:
    path = folder / "card.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_card(str(path))
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


@pytest.mark.parametrize(
    ("old", "new", "key", "problem"),
    [
        (TEXTVQA, "PaliGamma-3B: 68.1", "tables.0.rows.3.published.PaliGamma-3B", "not a model of this table; did you"),
        (TEXTVQA, "PaliGemma-3B: 681", "tables.0.rows.3.published.PaliGemma-3B", "not between 0 and the row's maximum"),
        (TEXTVQA, "PaliGemma-3B: .nan", "tables.0.rows.3.published.PaliGemma-3B", "finite number"),
        (TEXTVQA, "PaliGemma-3B: -.inf", "tables.0.rows.3.published.PaliGemma-3B", "finite number"),
        ("id: chartqa_test", "id: docvqa_test", "tables.0.rows.1.id", "row id 'docvqa_test' occurs twice"),
        ("id: video\n", "id: image\n", "tables.1.id", "table id 'image' occurs twice"),
        ("[mmvet_turbo_1b", "[mmvet_turbo_2b", "tables.0.rows.14.flags.0", "not a flag of the card; did you mean"),
        ("model: InternVL2-1B", "model: InternVL9", "model", "is not listed in any table"),
        (
            PROMPT,
            '"{media}{questoin} Answer',
            "tables.0.rows.0.recipe.prompt",
            "unknown {questoin}; allowed: {media}, {question}",
        ),
        (PROMPT, '"{media}{question}} Answer', "tables.0.rows.0.recipe.prompt", "Single '}'"),
        (PROMPT, '"{media}{{question}} Answer', "tables.0.rows.0.recipe.prompt", "lacks {question}"),
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


def test_every_problem_is_listed_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    changes = [
        ("\nmodel: InternVL2-1B", "\nmodel: InternVL9", "model: 'InternVL9' is not listed in any table"),
        ("tables:", "tabels:", "tabels: unknown key; did you mean 'tables'?"),
        ("max_tiles: 18", "max_tils: 18", "recipe.look.max_tils: unknown key; did you mean 'max_tiles'?"),
        (PROMPT, '"{media}{questoin} Answer', "rows.0.recipe.prompt: unknown {questoin}"),
        ('label: "ChartQA test"', 'lable: "ChartQA test"', "rows.1.lable: unknown key; did you mean 'label'?"),
        ("PaliGemma-3B: 68.1", "PaliGamma-3B: 68.1", "PaliGamma-3B: not a model of this table; did you mean"),
        ("PaliGemma-3B: 614", "PaliGemma-3B: many", "PaliGemma-3B: Input should be a valid number"),
        ("[mathvista_2b_rounding]", "[zzz]", "rows.17.flags.0: 'zzz' is not a flag of the card; its flags: mmvet"),
        ("{task: mmstar, round: 1}", "{task: mmstar, row: x}", "mean_of.1: a part needs exactly one of 'task', 'row'"),
        ("&grounding\n          look: {max_tiles:", "&grounding\n          look: {max_tilse:", "look.max_tilse: un"),
        ("\nflags:", "\nflag:", "flag: unknown key; did you mean 'flags'?"),
    ]
    text = TEXT
    expected = {}
    for old, new, problem in changes:
        assert old in text
        text = text.replace(old, new, 1)
        marked = old.rsplit("\n", 1)[-1].strip() or old.strip()
        expected[problem] = TEXT[: TEXT.index(old) + old.index(marked)].count("\n") + 1
    found = refusals(text, tmp_path)
    lines = [int(line.split(":")[0]) for line in found]
    assert lines == sorted(lines)
    for problem, line in expected.items():
        (match,) = [one for one in found if problem in one]
        assert match.startswith(f"{line}: ")
    (unknown_row,) = [one for one in found if "'x' is not a row of the card" in one]
    assert len(found) == len(changes) + 1, unknown_row


def test_a_misspelt_key_is_not_missing_too_and_its_value_is_checked(tmp_path: Path) -> None:
    found = refusals("name: a\ntitel: 5\nsource: b\ntables: []\n", tmp_path)
    assert len(found) == 2
    assert found[0].startswith("2: titel: unknown key; did you mean 'title'? allowed: name, title, model")
    assert found[1] == "2: title: Input should be a valid string (got '5')"


def test_a_key_with_a_line_end_stays_on_its_line(tmp_path: Path) -> None:
    message = refusal('"a\\nb": 1\nname: a\ntitle: b\nsource: c\ntables: []\n', tmp_path)
    assert message.startswith("1: a b: unknown key; allowed: ")


def test_missing_keys_are_listed_where_they_belong(tmp_path: Path) -> None:
    found = refusals("name: a\ntables:\n  - id: t\n    rows:\n      - {id: r, tasks: [x]}\n", tmp_path)
    assert found == [
        "1: source: required but missing",
        "1: title: required but missing",
        "3: tables.0.title: required but missing",
        "5: tables.0.rows.0.label: required but missing",
        "5: tables.0.rows.0.published: required but missing",
    ]


def test_two_recipes_for_one_task_name_both_rows(tmp_path: Path) -> None:
    row = TEXT.index("- id: textvqa_val")
    line = TEXT[: TEXT.index("recipe:", row)].count("\n") + 1
    message = refusal(TEXT.replace("also: [docvqa_val]", "also: [textvqa_val]", 1), tmp_path)
    assert message.startswith(f"{line}: tables.0.rows.3.recipe: task 'textvqa_val' already has a different recipe")
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
        ("max_tiles: 18", "<<: {max_tiles: 18}", "merge keys are not allowed"),
        ("max_tiles: 18", "max_tiles: 18,\n frames: 0,\n frames: 8", "'frames' occurs twice"),
        ("tile_size: 448", "? [a]\n: 1", "a key must be plain text"),
    ],
)
def test_what_yaml_would_swallow(old: str, new: str, problem: str, tmp_path: Path) -> None:
    last = TEXT[: TEXT.index(old)].count("\n") + 1 + (new.count("\n") if "twice" in problem else 0)
    message = refusal(TEXT.replace(old, new, 1), tmp_path)
    assert message.startswith(f"{last}: ")
    assert problem in message


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("title: InternVL2-1B model card", "title: 2026-13-45", "unreadable value: month must be in 1..12"),
        ("tile_size: 448", f"tile_size: {'9' * 5000}", "unreadable value: Exceeds the limit"),
        ("tile_size: 448", f"tile_size: {'[' * 5000}", "nested too deeply"),
        ("tile_size: 448", "tile_size: &a [*a]", "nested too deeply"),
    ],
)
def test_what_yaml_would_choke_on(old: str, new: str, problem: str, tmp_path: Path) -> None:
    message = refusal(TEXT.replace(old, new, 1), tmp_path)
    assert message.startswith("1: card: ") and problem in message


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
def test_metrics_and_notes_are_the_cards(card: Card, published: Any) -> None:
    for place, part in enumerate(("image_benchmarks", "video_benchmarks")):
        table, wanted = card.tables[place], published[part]
        for row in table.rows:
            source = wanted["rows"].get(row.id)
            if source is not None:
                assert row.metric == source["metric"]
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
        ("{media}{question} A", "{media} A", ["lacks {question}"]),
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


def test_logs_are_in_the_docs(card: Card) -> None:
    def cell(value: Any) -> str:
        parts = [f"{name} {number:.7g}" for name, number in value.items()] if isinstance(value, dict) else []
        return ", ".join(parts) or f"{value:.7g}"

    text = (REPO / "docs" / "reproduce.md").read_text(encoding="utf-8")
    block = text[text.index("| evaluation guide |") :].split("\n\n")[0]
    head, _, *rows = [[part.strip() for part in line.split("|")[1:-1]] for line in block.strip().splitlines()]
    assert head[1:] == list(card.logs)
    names = dict.fromkeys(name for log in card.logs.values() for name in log)
    assert rows == [[f"`{name}`", *(cell(log[name]) for log in card.logs.values())] for name in names]


def test_the_schema_for_editors_is_current() -> None:
    assert json.loads(PATH.read_text(encoding="utf-8")) == card_schema(), "run python scripts/card_schema.py"
    assert TEXT.startswith(f"# yaml-language-server: $schema={PATH.name}\n")
    row = card_schema()["$defs"]["Row"]
    assert row["required"] == ["id", "label", "published"]
    assert all(item.get("description") for item in row["properties"].values())


SECOND = """
name: other
title: Another model
source: its paper
tables:
  - id: main
    title: Benchmarks
    rows:
      - {id: text, label: TextVQA, tasks: [textvqa_val], published: PUBLISHED}
      - id: chart
        label: ChartQA
        tasks: [chartqa_test_human, chartqa_test_augmented]
        published: {A: null, C: 3}
        recipe: {prompt: "{media}{question}", max_new_tokens: 3}
"""


def second(folder: Path, published: str = "{B: 60.5, A: 70}", extra: str = "") -> Path:
    path = folder / "other.yaml"
    path.write_text(SECOND.replace("PUBLISHED", published) + extra, encoding="utf-8")
    return path


def test_a_short_card_has_defaults(tmp_path: Path) -> None:
    card = load_card(str(second(tmp_path)))
    assert (card.model, card.parameters, card.tile_size) == (None, None, 448)
    assert [model.name for model in card.tables[0].models] == ["B", "A", "C"]
    assert [row.metric for row in card.rows()] == [None, None]
    assert card.tasks() == ["textvqa_val", "chartqa_test_human", "chartqa_test_augmented"]


def evalkit(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command."""
    code = main(list(map(str, args)))
    return code, *capsys.readouterr()


def test_a_second_card_without_a_model_of_its_own(
    gold_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = second(tmp_path)
    code, text, errors = evalkit(capsys, "table", gold_run, "--card", path)
    assert code == 0, errors
    (head,) = [line for line in text.splitlines() if line.startswith("| benchmark")]
    names = [part.strip() for part in head.split("|")[1:-1]]
    assert names[:4] == ["benchmark", "B", "A", "C"] and names[5:] == ["95%", "n", "verdict"]
    assert "Differences" not in text and "None" not in text
    for output in ("csv", "tex", "html", "json", "model-index"):
        code, text, errors = evalkit(capsys, "table", gold_run, "--card", path, "--format", output)
        assert code == 0 and text and "None" not in text, errors
    code, text, errors = evalkit(capsys, "table", gold_run, gold_run, "--card", path, "--compact")
    assert code == 0 and "None" not in text and "TextVQA" in text and "as published" not in text
    code, text, errors = evalkit(capsys, "check", gold_run, "--baseline", "published", "--card", path)
    assert code == 2 and errors.count("\n") == 1 and "does not name its own model (key 'model')" in errors
    code, text, errors = evalkit(capsys, "plot", gold_run, "--card", path, "--out", tmp_path / "plots")
    assert code == 0, errors
    assert "None" not in (tmp_path / "plots" / "card.svg").read_text(encoding="utf-8")


def test_a_second_card_with_a_model_and_without_columns(
    gold_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ("check", gold_run, "--baseline", "published", "--card")
    code, text, _ = evalkit(capsys, *check, second(tmp_path, extra="model: C\n"))
    assert code in (1, 3) and "| chart |" in text and "| text |" not in text
    code, text, _ = evalkit(capsys, *check, second(tmp_path, extra="model: A\n"))
    assert code in (1, 3) and "| text |" in text and "| chart |" not in text
    bare = second(tmp_path, published="{}")
    bare.write_text(bare.read_text().replace("{A: null, C: 3}", "{}"))
    for output in ("md", "tex", "html"):
        code, text, errors = evalkit(capsys, "table", gold_run, "--card", bare, "--format", output)
        assert code == 0 and "as published" not in text and "its paper" in text, errors


def test_the_command_line_prints_a_line_per_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = second(tmp_path, published="{A: 200}", extra="modle: A\n")
    code, _, errors = evalkit(capsys, "tasks", "--card", path)
    assert code == 2 and errors.count("\n") == 2
    assert f"{path}:9: tables.0.rows.0.published.A: 200 is not between" in errors
    assert f"\n{path}:15: modle: unknown key; did you mean 'model'?" in errors


def test_a_second_card_runs(demo: Path, tmp_path: Path, cli: Cli) -> None:
    path, out = second(tmp_path), tmp_path / "run"
    recipe = 'recipe: {prompt: "{media}{question}", max_new_tokens: 3}, published: {B'
    path.write_text(path.read_text().replace("published: {B", recipe), encoding="utf-8")
    args = ["--card", path, "--data-root", demo, "--out", out, "--limit", "1"]
    done = cli("run", "--model", demo / "checkpoint", *args)
    assert done.returncode == 0, done.stderr
    scores = json.loads((out / "scores.json").read_text())
    assert list(scores) == ["textvqa_val", "chartqa_test_human", "chartqa_test_augmented"]
    assert "Another model" in (out / "card.md").read_text()
    assert "None" not in done.stderr


def opencompass(card: Card) -> Row:
    return next(row for row in card.rows() if row.id == "opencompass_avg")


# Names in the leaderboard's file of the tasks in the card.
LEADERBOARD = {
    "mmbench_test_en_v11": "MMBench_TEST_EN_V11",
    "mmbench_test_cn_v11": "MMBench_TEST_CN_V11",
    "mmstar": "MMStar",
    "mmmu_val_vlmevalkit": "MMMU_VAL",
    "mathvista_testmini": "MathVista",
    "ocrbench": "OCRBench",
    "ai2d_test_vlmevalkit": "AI2D",
    "hallusionbench": "HallusionBench",
    "mmvet_turbo": "MMVet",
}


@pytest.mark.shared_data
def test_the_opencompass_average_is_the_leaderboards(card: Card, shared: Path) -> None:
    formula = card.formula(opencompass(card))
    assert formula.tasks == tuple(LEADERBOARD)
    cases = json.loads((shared / "golden_vk" / "opencompass.json").read_text())["cases"]
    averages = 0
    for case in cases:
        scores = {task: case["parts"].get(name) for task, name in LEADERBOARD.items()}
        known = {task: score for task, score in scores.items() if score is not None}
        assert formula.parts[0].value(known) == case["mmbench_v11"]
        if case["average"] is None:
            with pytest.raises(KeyError):
                formula.value(known)
        else:
            assert formula.value(known) == case["average"]
            averages += 1
    assert averages == len(cases) - 1 == 11


def test_a_formula_rounds_scores_and_not_resamples(card: Card) -> None:
    formula = card.formula(opencompass(card))
    scores = {task: 40.0 + 1.23 * place for place, task in enumerate(formula.tasks)} | {"ocrbench": 754.0}
    parts = [scores[task] / (10 if task == "ocrbench" else 1) for task in formula.tasks]
    exact = (sum(parts[:2]) / 2 + sum(parts[2:])) / 8
    assert formula.value(scores, rounded=False) == pytest.approx(exact, abs=1e-12)
    assert formula.value(scores) == round(formula.value(scores), 1) != exact
    drawn = {task: score + np.linspace(0, 1, 5) * (10 if task == "ocrbench" else 1) for task, score in scores.items()}
    means = formula.value(drawn, rounded=False)
    assert means.shape == (5,)
    assert means == pytest.approx(exact + np.linspace(0, 1, 5), abs=1e-12)
    assert formula.value(drawn).tolist() == [
        formula.value({task: float(values[place]) for task, values in drawn.items()}) for place in range(5)
    ]


def test_ties_are_rounded_as_the_leaderboard_rounds_them(tmp_path: Path) -> None:
    parts = "{id: row, label: r, mean_of: [{task: a, ROUND}, {task: b}], published: {}}"
    base = "name: n\ntitle: t\nsource: s\ntables: [{id: i, title: t, rows: ["
    path = tmp_path / "card.yaml"
    path.write_text(base + parts.replace("ROUND", "round: 1").replace("published", "round: 1, published") + "]}]")
    card = load_card(str(path))
    (row,) = card.rows()
    part = card.formula(row).parts[0]
    assert part.value({"a": 46.45}) == 46.5, "as printed: the float is a little more than 46.45"
    assert card.formula(row).value({"a": 46.5, "b": 46.4}) == 46.4, "as numpy.round(46.45, 1)"


def test_rows_of_rows(tmp_path: Path) -> None:
    nested = second(
        tmp_path,
        extra="""      - id: all
        label: All
        mean_of: [{row: text, divisor: 2}, {row: chart}, {mean_of: [{task: more}, {row: text}], round: 0}]
        published: {A: 1}
recipes:
  - tasks: [more]
    recipe: {prompt: "{question}", max_new_tokens: 7}
""",
    )
    card = load_card(str(nested))
    row = list(card.rows())[-1]
    scores = {"textvqa_val": 10.0, "chartqa_test_human": 20.0, "chartqa_test_augmented": 40.0, "more": 1.0}
    assert card.formula(row).tasks == tuple(scores)
    assert card.formula(row).value(scores) == pytest.approx((5 + 30 + 6) / 3)  # 5.5 printed without decimals is 6
    assert card.formula(row).value(scores, rounded=False) == pytest.approx((5 + 30 + 5.5) / 3)
    assert card.rows_of("textvqa_val") == ["text", "all"] and card.rows_of("more") == ["all"]
    assert card.tasks() == list(scores)
    recipe = card.recipe("more")
    assert recipe is not None and recipe.max_new_tokens == 7


ROWS = [
    (
        "mean_of: [{row: two}]",
        "mean_of: [{mean_of: [{row: one}]}]",
        [".0.mean_of.0.row: circular: the score of 'two' depends", ".1.mean_of.0.mean_of.0.row: circular"],
    ),
    ("mean_of: [{row: one}]", "tasks: [b]", [".0.mean_of.0.row: circular"]),
    ("mean_of: [{row: tow}]", "tasks: [b]", [".0.mean_of.0.row: 'tow' is not a row of the card; did you mean 'two'?"]),
    ("mean_of: [{task: a, row: two}, {}]", "tasks: [b]", [".0.mean_of.0: a part needs", ".0.mean_of.1: a part needs"]),
    ("mean_of: [{task: a}], tasks: [a]", "note: x", [".0: a row needs exactly one of", ".1: a row needs exactly"]),
    ("mean_of: []", "tasks: []", [".0.mean_of: List should have at least 1", ".1.tasks: List should have at least 1"]),
    ("mean_of: [{task: a, divisor: 0}]", "tasks: [b], round: 9", [".0.mean_of.0.divisor: ", ".1.round: "]),
    (
        "mean_of: [{task: a}], recipe: {prompt: '{question}', max_new_tokens: 1}",
        "tasks: [b]",
        [".0.recipe: a recipe needs tasks"],
    ),
    ("mean_of: [{tsak: a}]", "tasks: [b]", [".0.mean_of.0.tsak: unknown key; did you mean 'task'? allowed: task, row"]),
]


@pytest.mark.parametrize(("first", "other", "problems"), ROWS)
def test_mistakes_in_means(first: str, other: str, problems: list[str], tmp_path: Path) -> None:
    text = f"""name: n
title: t
source: s
tables:
  - id: i
    title: t
    rows:
      - {{id: one, label: a, published: {{}}, {first}}}
      - {{id: two, label: b, published: {{}}, {other}}}
"""
    found = refusals(text, tmp_path)
    assert len(found) == len(problems)
    for line, problem in zip(found, problems, strict=True):
        assert f"tables.0.rows{problem}" in line
        assert line.startswith("8: " if problem.startswith(".0") else "9: ")


def test_parameters_are_given_once_per_model(card: Card, tmp_path: Path) -> None:
    sizes = {model.name: model.parameters for model in card.tables[2].models if model.parameters}
    assert card.parameters == sizes["InternVL2-1B"] == 938_158_976
    assert [f"{size / 1e9:.1f}" for size in sizes.values()] == ["0.9", "2.2", "4.1", "8.1", "25.5", "40.1", "76.3"]
    message = refusal(TEXT.replace('"InternVL2-2B"}', '"InternVL2-2B", parameters: 5}', 1), tmp_path)
    assert "tables.2.models.5.parameters: 'InternVL2-2B' has 5 in an earlier table" in message


def test_a_recipe_of_its_own_may_not_clash_with_a_rows(tmp_path: Path) -> None:
    message = refusal(TEXT.replace("- tasks: [mmbench_test_en_v11,", "- tasks: [mvbench,", 1), tmp_path)
    assert "recipes.0.recipe: task 'mvbench' already has a different recipe (mvbench)" in message
