"""InternVL2 as a model of evalkit, and as the ``batch_chat`` of its model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evalkit.models.base import Pixels
from evalkit.models.internvl2.config import read_config
from evalkit.models.internvl2.generation import Answer, Generator, Prompt, Sampling
from evalkit.models.internvl2.network import TILE_BATCH, load_network, normalise
from evalkit.models.internvl2.prompt import CONTEXT, END, IMAGE, chat_prompt, encode_prompt
from evalkit.models.internvl2.tokenizer import ChatTokenizer, TokenizerLike
from evalkit.records import Outcome, Request, Response

# Keys of a generation config that change nothing when decoding greedily, or that evalkit sets itself.
_IGNORED = {"num_beams", "pad_token_id", "eos_token_id", "use_cache"}
# Positions (prompt and answer) of all rows that one decoding batch may hold in its cache.
CACHE_TOKENS = 65_536


class InternVL2Model:
    """An InternVL2 checkpoint, ready to answer.

    Args:
        folder: checkpoint folder in the official layout.
        device: where it runs.
        dtype: of weights and activations.
        attention: ``sdpa``, or ``eager`` (bit-identical to the official code without flash attention).
        shared: the grouped engine: media are encoded once and the questions on them answered together. False is the
            official loop: one question at a time, everything computed anew.
    """

    needs_media = True

    def __init__(
        self, folder: Path, device: torch.device, dtype: torch.dtype, attention: str = "sdpa", shared: bool = True
    ) -> None:
        self.config = read_config(folder)
        self.tokenizer = ChatTokenizer(folder)
        self.device = device
        self.dtype = dtype
        self.attention = attention
        self.shared = shared
        self.network = load_network(folder, self.config, device, dtype, attention)
        self.context_id = self.tokenizer.convert_tokens_to_ids(CONTEXT)
        end_id = self.tokenizer.convert_tokens_to_ids(END)
        self.generator = Generator(self.network.language_model, self.context_id, end_id)

    def describe(self) -> dict[str, Any]:
        """Return the settings and size of the model for run.json."""
        return {
            "kind": "internvl2",
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "note": self.config.evalkit_note,
            "settings": {
                "dtype": str(self.dtype).removeprefix("torch."),
                "attention": self.attention,
                "engine": "grouped" if self.shared else "reference",
                "cache_tokens": CACHE_TOKENS,
                "tile_batch": TILE_BATCH,
            },
        }

    def reference(self) -> InternVL2Model:
        """Return the same model, sharing its weights, with the reference engine."""
        model = copy(self)
        model.shared = False
        return model

    def answer(self, requests: Sequence[Request], pixels: Pixels) -> Iterator[tuple[Request, Response]]:
        """Yield each request's response the moment it is there (see ``models.base.Model``)."""
        tiles = [len(image) for image in pixels]
        prompts = []
        features = self._features(pixels) if self.shared else None
        for request in requests:
            limits = request.generation
            try:
                ids = encode_prompt(self.tokenizer, chat_prompt(request.prompt), tiles, self.config.tokens_per_tile)
            except ValueError as error:
                yield request, Response(request.id, "", Outcome.MODEL_ERROR, reason=str(error))
                continue
            prompts.append((request, Prompt(ids, features, 0, limits.max_new_tokens, limits.min_new_tokens)))
        for batch in self._batches(prompts):
            batch_prompts = [prompt for _, prompt in batch]
            if not self.shared:
                alone = batch_prompts[0]
                features = self._features(pixels)
                batch_prompts = [Prompt(alone.ids, features, 0, alone.max_new_tokens, alone.min_new_tokens)]
            for found in self.generator.generate(batch_prompts):
                request, prompt = batch[found.row]
                yield request, self._response(request, prompt, found)

    def _response(self, request: Request, prompt: Prompt, found: Answer) -> Response:
        outcome = Outcome.OK if found.ended else Outcome.TRUNCATED
        text = self._text(self.tokenizer, found.ids)
        return Response(request.id, text, outcome, len(prompt.ids), len(found.ids))

    def _batches(self, prompts: list[tuple[Request, Prompt]]) -> Iterator[list[tuple[Request, Prompt]]]:
        batch: list[tuple[Request, Prompt]] = []
        used = 0
        for request, prompt in prompts:
            size = len(prompt.ids) + prompt.max_new_tokens
            if batch and (not self.shared or used + size > CACHE_TOKENS):
                yield batch
                batch, used = [], 0
            batch.append((request, prompt))
            used += size
        if batch:
            yield batch

    def _features(self, pixels: Pixels) -> Tensor | None:
        if not pixels:
            return None
        # One uint8 transfer; normalised on the device.
        tiles = torch.cat([torch.from_numpy(image) for image in pixels]).to(self.device)
        return self.network.image_features(normalise(tiles, self.dtype)).flatten(0, 1)

    @staticmethod
    def _text(tokenizer: TokenizerLike, ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=True).split(END)[0].strip()

    def batch_chat(
        self,
        tokenizer: TokenizerLike,
        pixel_values: Tensor | None,
        questions: Sequence[str],
        generation_config: Mapping[str, Any],
        num_patches_list: Sequence[int | Sequence[int]] | None = None,
    ) -> list[str]:
        r"""Answer several questions at once, as the model card's ``batch_chat`` (protocol sheet 4).

        Args:
            tokenizer: the checkpoint's tokenizer (``model.tokenizer``, or one of transformers).
            pixel_values: normalised tiles of all questions, in order, (tiles, 3, S, S); None asks without images.
            questions: user turns; ``<image>\n`` is put in front of one that has no ``<image>``.
            generation_config: ``max_new_tokens`` (20 if absent), ``min_new_tokens``, ``do_sample`` with
                ``temperature``, ``top_k`` and ``top_p``.
            num_patches_list: tiles of each question's image. Beyond the official method an entry may be a list: the
                tiles of each of several images or frames of that question.

        Returns:
            One answer per question.

        Raises:
            ValueError: arguments that do not fit each other, or an unsupported generation setting.
        """
        per_question = _images(pixel_values, questions, num_patches_list)
        limits, sampling = _limits(generation_config)
        features: Tensor | None = None
        if pixel_values is not None and len(pixel_values):
            features = self.network.image_features(pixel_values.to(self.device, self.dtype)).flatten(0, 1)
        prompts = []
        taken = 0
        for question, tiles in zip(questions, per_question, strict=True):
            if pixel_values is not None and IMAGE not in question:
                question = f"{IMAGE}\n{question}"
            ids = encode_prompt(tokenizer, chat_prompt(question), tiles, self.config.tokens_per_tile)
            count = sum(tiles) * self.config.tokens_per_tile
            own = features[taken : taken + count] if features is not None else None
            prompts.append(Prompt(ids, own, taken, *limits))
            taken += count
        answers = {found.row: found.ids for found in self.generator.generate(prompts, sampling)} if prompts else {}
        return [self._text(tokenizer, answers[row]) for row in range(len(prompts))]


def _images(
    pixel_values: Tensor | None, questions: Sequence[str], num_patches_list: Sequence[int | Sequence[int]] | None
) -> list[list[int]]:
    """Return the tiles of each image of each question."""
    if pixel_values is None:
        if num_patches_list is not None and any(num_patches_list):
            raise ValueError("num_patches_list names tiles but pixel_values is None")
        return [[] for _ in questions]
    if num_patches_list is None:
        if len(questions) != 1:
            raise ValueError("num_patches_list is needed: the tiles of each question's image")
        num_patches_list = [len(pixel_values)]
    if len(num_patches_list) != len(questions):
        raise ValueError(f"num_patches_list has {len(num_patches_list)} entries for {len(questions)} questions")
    images = [[entry] if isinstance(entry, int) else list(entry) for entry in num_patches_list]
    total = sum(map(sum, images))
    if total != len(pixel_values):
        raise ValueError(f"num_patches_list names {total} tiles, pixel_values holds {len(pixel_values)}")
    return images


def _limits(config: Mapping[str, Any]) -> tuple[tuple[int, int], Sampling | None]:
    """Return ((max_new_tokens, min_new_tokens), sampling) of a generation config."""
    known = {"max_new_tokens", "min_new_tokens", "do_sample", "temperature", "top_k", "top_p"}
    unknown = set(config) - known - _IGNORED
    if unknown or config.get("num_beams", 1) != 1:
        raise ValueError(f"unsupported generation settings: {', '.join(sorted(unknown)) or 'num_beams other than 1'}")
    drawn = {key: config[key] for key in ("temperature", "top_k", "top_p") if config.get(key) is not None}
    sampling = Sampling(**drawn) if config.get("do_sample") else None
    return (config.get("max_new_tokens", 20), config.get("min_new_tokens", 0)), sampling
