"""VLMEvalKit's image rows are asked as its adapter asks InternVL2: texts, images, tiles, limits and pixels."""

from __future__ import annotations

import json

import pytest

from evalkit.card import load_card
from evalkit.data.root import DataRoot
from evalkit.media.load import load
from evalkit.records import Recipe, Request
from evalkit.requests import build_requests
from tests.test_media_load import assert_golden, official_pixels
from tests.vk_golden import GOLDEN, TASKS, wrong_prompts

pytestmark = pytest.mark.shared_data

ROOT = DataRoot(GOLDEN / "prompts_root")


def recipe_of(name: str) -> Recipe:
    recipe = load_card("internvl2").recipe(name)
    assert recipe is not None
    return recipe


def requests_of(name: str) -> dict[str, Request]:
    task = TASKS[name]
    requests = build_requests(task, list(task.load(ROOT)), recipe_of(name), ROOT, 448)
    return {request.id: request for request in requests}


@pytest.mark.parametrize("name", TASKS)
def test_requests_are_the_official_ones(name: str) -> None:
    recipe, requests = recipe_of(name), requests_of(name)
    cases = json.loads((GOLDEN / "prompts.json").read_text(encoding="utf-8"))[name]
    assert wrong_prompts(TASKS[name]) == []
    for case in cases:
        request, limits = requests[case["id"]], case["generation_config"]
        assert (limits["do_sample"], limits["num_beams"]) == (False, 1)
        assert (request.generation.temperature, request.generation.min_new_tokens) == (0, 0)
        assert request.generation.max_new_tokens == limits["max_new_tokens"]
        assert recipe.look.max_tiles == case["max_num"]
        pixels = [tiles for view in request.views for tiles in load(view, ROOT)]
        assert [len(tiles) for tiles in pixels] == case["num_patches_list"]
        for tiles, image in zip(pixels, case["images"], strict=True):
            assert_golden(official_pixels(tiles), image["pixels"])


def test_the_cases_hold_what_they_are_meant_to_prove() -> None:
    several = [request for request in requests_of("mmmu_val_vlmevalkit").values() if len(request.views) > 1]
    assert {view.jpeg for request in several for view in request.views} == {None, 75}
    forms = {sample.form for name in TASKS for sample in TASKS[name].load(ROOT)}
    assert forms >= {"choice", "choice_cn", "open", ""}
