"""Every case of the golden engine vectors: prompt ids, pixels, features, logits and answers of the official code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evalkit.data.root import DataRoot
from evalkit.media.load import load
from evalkit.models import load_model
from evalkit.models.base import MediaGroup, Pixels
from evalkit.models.internvl2.model import InternVL2Model
from evalkit.models.internvl2.network import normalise
from evalkit.models.internvl2.prompt import chat_prompt, encode_prompt
from evalkit.records import Generation, Media, Request, View
from tests.conftest import SHARED

pytestmark = pytest.mark.shared_data

EXPECTED = SHARED / "golden" / "engine" / "expected.json"
CASES: list[dict[str, Any]] = json.loads(EXPECTED.read_text(encoding="utf-8"))["cases"] if EXPECTED.exists() else []
TIE = 1e-3


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(tiny_checkpoint: Path, request: pytest.FixtureRequest) -> InternVL2Model:
    model: InternVL2Model = load_model(str(tiny_checkpoint), device="cpu", dtype="float32", attention=request.param)
    return model


def views_of(case: dict[str, Any]) -> tuple[View, ...]:
    views = []
    for item in case["media"]:
        if "image" in item:
            views.append(View(Media(f"media/{item['image']}"), 448, item["max_num"], True, 0, "segment_middle"))
        else:
            start, end = item["bound"] or (None, None)
            media = Media(f"media/{item['video']}", "video", start, end)
            views.append(View(media, 448, 1, True, item["frames"], "segment_middle"))
    return tuple(views)


def pixels_of(case: dict[str, Any], shared: Path) -> Pixels:
    root = DataRoot(shared / "data")
    return [tiles for view in views_of(case) for tiles in load(view, root)]


def normalised(pixels: Pixels) -> torch.Tensor | None:
    return torch.cat([normalise(torch.from_numpy(tiles), torch.float32) for tiles in pixels]) if pixels else None


def question_of(case: dict[str, Any]) -> str:
    question: str = case["question"]
    return question if "<image>" in question or not case["media"] else f"<image>\n{question}"


def compare(tensor: torch.Tensor, expected: dict[str, Any], tolerance: float) -> None:
    assert list(tensor.shape) == expected["shape"]
    assert float(tensor.mean()) == pytest.approx(expected["mean"], abs=tolerance)
    assert float(tensor.std()) == pytest.approx(expected["std"], abs=tolerance)
    sample = tensor.flatten()[:: expected["stride"]][: len(expected["sample"])]
    np.testing.assert_allclose(sample.numpy(), expected["sample"], atol=tolerance, rtol=0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(case: dict[str, Any], model: InternVL2Model, shared: Path) -> None:
    pixels = pixels_of(case, shared)
    tiles = [len(image) for image in pixels]
    assert tiles == case["num_patches_list"]

    ids = encode_prompt(model.tokenizer, chat_prompt(question_of(case)), tiles, model.config.tokens_per_tile)
    assert len(ids) == case["prompt_length"]
    assert ids.count(model.context_id) == case["image_tokens"]
    assert [token for token in ids if token != model.context_id] == case["prompt_ids_without_context"]

    values = normalised(pixels)
    features = None
    if values is not None:
        compare(values, case["pixels"], 1e-6)
        features = model.network.image_features(values)
        compare(features, case["features"], 1e-4)

    top = first_logits(model, ids, features)
    wanted = case["top_logits"]
    np.testing.assert_allclose(top[wanted["ids"]].numpy(), wanted["values"], atol=1e-4, rtol=0)
    assert int(top.argmax()) == wanted["ids"][0]

    patches = [case["num_patches_list"]] if pixels else None
    config = {"max_new_tokens": case["max_new_tokens"], "do_sample": False}
    (answer,) = model.batch_chat(model.tokenizer, values, [case["question"]], config, patches)
    assert answer == case["response"]


def first_logits(model: InternVL2Model, ids: list[int], features: torch.Tensor | None) -> torch.Tensor:
    language = model.network.language_model
    with torch.inference_mode():
        tokens = torch.tensor(ids)
        embeds = language.get_input_embeddings()(tokens)
        if features is not None:
            embeds[tokens == model.context_id] = features.flatten(0, 1)
        logits: torch.Tensor = language(inputs_embeds=embeds[None], logits_to_keep=1).logits
    return logits[0, -1]


def request_of(case: dict[str, Any], number: int = 0) -> Request:
    limits = Generation(case["max_new_tokens"], 0)
    return Request("golden", number, case["name"], question_of(case), views_of(case), limits)


def named(prefix: str) -> list[dict[str, Any]]:
    return [case for case in CASES if case["name"].startswith(prefix)]


@pytest.mark.parametrize("engine", ["grouped", "reference"])
@pytest.mark.parametrize("prefix", ["group_", "video_16_bound", "two_images"])
def test_engines_give_the_official_answers(prefix: str, engine: str, tiny_checkpoint: Path, shared: Path) -> None:
    model = load_model(str(tiny_checkpoint), device="cpu", dtype="float32", engine=engine)
    cases = named(prefix)
    requests = [request_of(case, number) for number, case in enumerate(cases)]
    answers = {
        request.id: response for request, response in model.answer([MediaGroup(requests, pixels_of(cases[0], shared))])
    }
    assert {name: response.response for name, response in answers.items()} == {c["name"]: c["response"] for c in cases}
    assert [answers[case["name"]].prompt_tokens for case in cases] == [case["prompt_length"] for case in cases]
    assert all(response.output_tokens == 24 for response in answers.values())


def test_batch_chat_of_different_images_equals_one_by_one(tiny_checkpoint: Path, shared: Path) -> None:
    """Left padding, several images and frames per question, and text beside them change no answer."""
    model = load_model(str(tiny_checkpoint), device="cpu", dtype="float32")
    cases = [*named("single_image1"), *named("two_images"), *named("video_16_bound"), *named("group_1")]
    pixels = [normalised(pixels_of(case, shared)) for case in cases]
    values = torch.cat([value for value in pixels if value is not None])
    config = {"max_new_tokens": 24, "do_sample": False}
    patches: list[int | list[int]] = [case["num_patches_list"] for case in cases]
    patches[0] = 7  # the official form: one image, its tiles as an integer
    answers = model.batch_chat(model.tokenizer, values, [case["question"] for case in cases], config, patches)
    assert answers == [case["response"] for case in cases]


def test_transformers_tokenizer_fits_batch_chat(tiny_checkpoint: Path) -> None:
    from transformers import Qwen2Tokenizer

    model = load_model(str(tiny_checkpoint), device="cpu", dtype="float32")
    (case,) = named("text_only")
    tokenizer = Qwen2Tokenizer.from_pretrained(tiny_checkpoint)
    config = {"max_new_tokens": 24, "do_sample": False}
    assert model.batch_chat(tokenizer, None, [case["question"]] * 2, config) == [case["response"]] * 2


@pytest.mark.parametrize(
    "text",
    [
        "Hello  world\n\n 123 'S don't <image>\n<img><IMG_CONTEXT></img> <|im_end|>x",
        "你好，世界 é e\u0301 ﬁ  　全角１２",
        "   tabs\t\r\n x \u00a0 end  ",
        "emoji 👩‍👩‍👧 <ref>a</ref><box>[[1, 2]]</box> <|endoftext|>",
        "a'b'LL we'RE 12345 e=mc² \u200bzero",
    ],
)
def test_tokenizer_equals_transformers(text: str, tiny_checkpoint: Path) -> None:
    from transformers import Qwen2Tokenizer

    from evalkit.models.internvl2.tokenizer import ChatTokenizer

    theirs, ours = Qwen2Tokenizer.from_pretrained(tiny_checkpoint), ChatTokenizer(tiny_checkpoint)
    assert ours.encode(text) == theirs(text).input_ids
    for skip in (False, True):
        assert ours.decode(ours.encode(text), skip_special_tokens=skip) == theirs.decode(
            ours.encode(text), skip_special_tokens=skip
        )
