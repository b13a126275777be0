"""What a recipe says by the form of a question and the number of its images; judge prompts as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit import judge_prompts
from evalkit.card import load_card
from evalkit.card_checks import recipe_problems
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.judge_prompts import judge_prompt
from evalkit.records import Look, Media, Recipe, Sample, Score, Several
from evalkit.requests import build_requests
from evalkit.task import Task

LETTER = "Answer with the option's letter from the given choices directly."


def prompts(recipe: Recipe, *samples: Sample, root: Path) -> list[str]:
    task = Task(
        name="t", metric="accuracy", expected_n=1, files=(), load=lambda _: samples,
        score=lambda sample, answer: Score(1.0, answer),
    )  # fmt: skip
    return [request.prompt for request in build_requests(task, samples, recipe, DataRoot(root), 28)]


def sample(form: str, images: int = 1, question: str = "Which {one}?") -> Sample:
    return Sample("0", question, tuple(Media(f"data/{i}.png") for i in range(images)), ("A",), "0", form=form)


def test_the_suffix_follows_the_form_of_the_question(tmp_path: Path) -> None:
    recipe = Recipe(
        prompt="{media}{question}\n{suffix}", suffixes={"choice": "A letter.", "open": "In {short}."}, max_new_tokens=1
    )
    said = prompts(recipe, sample("choice"), sample("open"), root=tmp_path)
    assert said == ["<image>\nWhich {one}?\nA letter.", "<image>\nWhich {one}?\nIn {short}."]
    with pytest.raises(UsageError, match=r"task t: sample '0' has the form 'x'.*\(suffixes: choice, open\)"):
        prompts(recipe, sample("x"), root=tmp_path)


def test_several_images_have_a_user_turn_of_their_own(tmp_path: Path) -> None:
    recipe = load_card("internvl2").recipe("mmmu_val_vlmevalkit")
    assert recipe is not None
    said = prompts(recipe, sample("choice"), sample("open_cn", 3, "<image 1>?"), root=tmp_path)
    assert said == [
        f"<image>\nWhich {{one}}?\n{LETTER}",
        "<image-1>: <image> <image-2>: <image> <image-3>: <image>\n<image 1>?\n请直接回答问题。"
        "<image-1><image-2><image-3>",
    ]


def test_merged_images_are_one_marker(tmp_path: Path) -> None:
    recipe = Recipe(
        prompt="{media}{question}", look=Look(merge=True), max_new_tokens=1,
        several=Several(prompt="{media}{question}{labels}", label="[{i}]"),
    )  # fmt: skip
    assert prompts(recipe, sample("", 2), root=tmp_path) == ["<image>\nWhich {one}?[1]"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"prompt": "{question}{suffix}"}, "{suffix} needs 'suffixes'"),
        ({"prompt": "{question}", "suffixes": {"open": "x"}}, "lacks {suffix}"),
        ({"prompt": "{question}", "several": {"prompt": "{media}"}}, "lacks {question}"),
        ({"prompt": "{question}{labels}"}, "unknown {labels}"),
        ({"prompt": "{question}", "several": {"prompt": "{question}", "label": "{n}"}}, "unknown {n}"),
    ],
)
def test_recipes_that_cannot_be_formatted(recipe: dict[str, Any], message: str) -> None:
    assert any(message in problem for _, problem in recipe_problems(recipe))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(judge_prompts, "shipped", lambda name: tmp_path)
    judge_prompt.cache_clear()
    (tmp_path / "judges").mkdir()
    return tmp_path / "judges"


def test_a_judge_prompt_is_filled_in_one_pass(folder: Path) -> None:
    (folder / "j.yaml").write_text(
        "source: here\nlicence: MIT\nmodel: m\nmax_new_tokens: 3\ntemperatures: [0, 0.5]\nuser: '{a} | {b} | {a}'\n"
    )
    prompt = judge_prompt("j")
    assert prompt.fill(a="{b}", b="x{y}") == "{b} | x{y} | {b}"
    judge = prompt.judge(lambda *_: None, lambda *_: None, fallback=True)
    assert (judge.name, judge.temperatures, judge.tries, judge.fallback) == ("m", (0.0, 0.5), 1, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [", "judge 'j': "),
        ("model: m", "source: "),
        ("- 1", "judge 'j': "),
        (
            "source: s\nlicence: l\nmodel: m\nuser: u\nmax_new_tokens: 0\ntemperatures: [0]",
            "max_new_tokens: Input should be greater than or equal to 1",
        ),
        (None, "No such file"),
    ],
)
def test_invalid_judge_prompts_are_one_line(text: str | None, message: str, folder: Path) -> None:
    if text is not None:
        (folder / "j.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        judge_prompt("j")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("file", sorted((Path(__file__).parent.parent / "configs" / "judges").glob("*.yaml")), ids=str)
def test_shipped_judge_prompts_name_source_and_licence(file: Path) -> None:
    judge_prompt.cache_clear()
    prompt = judge_prompt(file.stem)
    assert len(prompt.source) > 10 and prompt.licence and prompt.model
