"""The rows from the InternVL repository: what the model is sent, and MMMU's pixels."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evalkit.card import load_card
from evalkit.data.root import DataRoot
from evalkit.media.load import load, probe
from evalkit.models.internvl2.prompt import chat_prompt, encode_prompt
from evalkit.models.internvl2.tokenizer import ChatTokenizer
from evalkit.plugins import load_tasks
from evalkit.records import Request
from evalkit.requests import build_requests, pixels_of, recipe_for
from tests.test_media_load import assert_golden, official_pixels

pytestmark = pytest.mark.shared_data

TASKS = ("infovqa_val", "infovqa_test", "ai2d_test", "ai2d_test_no_mask", "mme", "mmvet", "seed_image", "mmmu_val")
PIXELS = ("validation_Agriculture_26", "validation_Chemistry_12", "validation_Manage_20")


def cases_of(shared: Path, task: str) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = json.loads((shared / "golden_iv" / "prompts_iv.json").read_text())[task]["samples"]
    return samples


@cache
def requests_of(root: Path, name: str) -> dict[str, Request]:
    task, card = load_tasks()[name], load_card("internvl2")
    data = DataRoot(root)
    recipe = recipe_for(task, card.recipe(name), card.name)
    return {request.id: request for request in build_requests(task, list(task.load(data)), recipe, data, 448)}


@pytest.fixture(scope="module")
def pixels(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three real questions whose pixels are golden, with the gold answers of all."""
    root = tmp_path_factory.mktemp("pixels") / "root"
    shutil.copytree(shared / "golden_iv" / "pixels" / "root", root, copy_function=shutil.copyfile)
    (root / "data" / "MMMU").chmod(0o755)
    shutil.copyfile(
        shared / "data" / "root" / "data" / "MMMU" / "answer_dict_val.json", root / "data/MMMU/answer_dict_val.json"
    )
    return root


@pytest.fixture(scope="module")
def tokenizer(shared: Path) -> ChatTokenizer:
    return ChatTokenizer(shared / "data" / "InternVL2-1B")


def draw(case: dict[str, Any], request: Request, root: DataRoot) -> None:
    """Draw images of a case's made-up sizes; those of tables are there."""
    for view, shown in zip(request.views, case["views"], strict=True):
        if view.media.kind == "image":
            file = root.resolve(view.media.path)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("1", shown["size"]).save(file, "PNG")


@pytest.mark.parametrize("task", TASKS)
def test_what_is_sent(task: str, shared: Path, pixels: Path, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    cases = cases_of(shared, task)
    assert len(cases) >= 4
    for case in cases:
        root = pixels if case["id"] in PIXELS else shared / "golden_iv" / "root"
        request = requests_of(root, task)[case["id"]]
        assert request.prompt == case["user_turn"]
        limits = request.generation.max_new_tokens, request.generation.min_new_tokens
        assert limits == (case["max_new_tokens"], case["min_new_tokens"])
        draw(case, request, DataRoot(tmp_path))
        data = DataRoot(root if request.views[0].media.kind == "row" else tmp_path)
        shown = [
            (view.max_tiles, view.thumbnail, layout.tiles) for view in request.views if (layout := probe(view, data))
        ]
        assert shown == [(view["max_num"], view["use_thumbnail"], view["tiles"]) for view in case["views"]]
        tiles = [tiles for _, _, tiles in shown]
        behind = [sum(tiles)] if request.merged else tiles
        assert behind == case["num_patches_of_each_image_marker"]
        assert len(encode_prompt(tokenizer, chat_prompt(request.prompt), behind, 256)) == case["prompt_tokens"]


def test_mmmu_shows_which_image_is_enlarged(shared: Path, pixels: Path) -> None:
    modes = set()
    for case in cases_of(shared, "mmmu_val"):
        root = pixels if case["id"] in PIXELS else shared / "golden_iv" / "root"
        request = requests_of(root, "mmmu_val")[case["id"]]
        assert all(view.keep_mode for view in request.views)
        named = [(view.media.path.rpartition("/")[2], view.enlarge == 2, view.max_tiles) for view in request.views]
        assert named == [(one["image"], one["enlarged_2x_bilinear"], one["max_num"]) for one in case["images"]]
        modes |= {one["mode"] for one in case["images"]}
    assert modes == {"RGB", "RGBA", "P", "L"}


@pytest.mark.parametrize("key", PIXELS)
def test_mmmu_pixels(key: str, shared: Path, pixels: Path) -> None:
    (case,) = (case for case in cases_of(shared, "mmmu_val") if case["id"] == key)
    (tiles,) = pixels_of(requests_of(pixels, "mmmu_val")[key], partial(load, root=DataRoot(pixels)))
    assert [hashlib.sha256(tile.tobytes()).hexdigest() for tile in tiles] == [
        tile["sha256_rgb_uint8"] for tile in case["pixels"]
    ]
    for tile, want in zip(tiles, case["pixels"], strict=True):
        np.testing.assert_allclose(tile.mean((0, 1)), want["mean_rgb_uint8"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(tile.std((0, 1)), want["std_rgb_uint8"], rtol=0, atol=1e-6)
    values = case["pixel_values"]
    assert_golden(official_pixels(tiles), values | {"sample": values["values"]})
