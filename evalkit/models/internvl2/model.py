"""InternVL2 as an evalkit model, with the ``batch_chat`` of its model card."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evalkit.errors import ModelUnavailable, first_line
from evalkit.models.base import MediaGroup, Model, Pixels
from evalkit.models.internvl2.config import read_config
from evalkit.models.internvl2.decoder import Decoder
from evalkit.models.internvl2.engine import Engine, Finished, Group
from evalkit.models.internvl2.generation import Prompt, Sampling, answer_alone
from evalkit.models.internvl2.memory import usable_bytes
from evalkit.models.internvl2.network import load_network, normalise
from evalkit.models.internvl2.prompt import CONTEXT, END, IMAGE, SYSTEM, chat_prompt, encode_prompt
from evalkit.models.internvl2.tokenizer import ChatTokenizer, TokenizerLike
from evalkit.records import Outcome, Request, Response

# Keys of a generation config that change nothing when decoding greedily, or that evalkit sets itself.
_IGNORED = {"num_beams", "pad_token_id", "eos_token_id", "use_cache"}
# Tiles per vision encoder batch, and tiles admitted at a time.
CPU_TILES, CPU_ADMITTED, GPU_TILES = 2, 32, 64


class InternVL2Model(Model):
    """An InternVL2 checkpoint, ready to answer.

    Args:
        folder: checkpoint folder in the official layout.
        device: where it runs.
        dtype: of weights and activations.
        attention: ``sdpa``, or ``eager`` (bit-identical to the official code without flash attention, by the reference
            engine; the grouped one encodes media with it and has its own attention over shared prefixes).
        shared: the grouped engine: media are encoded once and the questions on them answered together. False is the
            official loop: one question at a time, everything recomputed.
        memory_fraction: share of the device's memory that may be used, weights included.
        sharers: processes of this job on this machine, which share its memory if the device is the CPU.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        attention: str = "sdpa",
        shared: bool = True,
        memory_fraction: float = 0.8,
        sharers: int = 1,
    ) -> None:
        self.config = read_config(folder)
        self.tokenizer = ChatTokenizer(folder)
        self.device = device
        self.dtype = dtype
        self.attention = attention
        self.shared = shared
        self.network = load_network(folder, self.config, device, dtype, attention)
        self.context_id = self.tokenizer.convert_tokens_to_ids(CONTEXT)
        self.end_id = self.tokenizer.convert_tokens_to_ids(END)
        on_gpu = device.type == "cuda"
        self.tile_batch = GPU_TILES if on_gpu else CPU_TILES
        tile_work = self.tile_batch * self.network.tile_bytes()
        left = usable_bytes(device, memory_fraction, sharers) - tile_work
        self.engine = Engine(
            Decoder(self.network.language_model), self._features, self.context_id, self.end_id, left,
            GPU_TILES if on_gpu else CPU_ADMITTED, fixed=on_gpu,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """Return the settings and size of the model for run.json."""
        return {
            "kind": "internvl2",
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "note": self.config.evalkit_note,
            "memory_budget": self.engine.budget,
            "settings": {
                "dtype": str(self.dtype).removeprefix("torch."),
                "attention": self.attention,
                "engine": "grouped" if self.shared else "reference",
            },
        }

    def reference(self) -> InternVL2Model:
        """Return the same model, sharing its weights, with the reference engine."""
        model = copy(self)
        model.shared = False
        return model

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        """Yield each request's response as soon as it is ready (see ``models.base.Model``)."""
        pending: dict[tuple[int, int], tuple[Request, Prompt]] = {}
        refused: deque[tuple[Request, Response]] = deque()

        def prompted() -> Iterator[Group]:
            for number, group in enumerate(groups):
                tiles = [len(image) for image in group.media]
                prompts = list(self._prompts(group.requests, tiles, refused))
                pending.update(((number, row), pair) for row, pair in enumerate(prompts))
                if prompts:
                    yield Group(number, [prompt for _, prompt in prompts], sum(tiles), list(group.media))

        for finished in self._answer(prompted()):
            request, prompt = pending.pop((finished.key, finished.row))
            outcome = Outcome.OK if finished.answer.ended else Outcome.TRUNCATED
            text = self._text(self.tokenizer, finished.answer.ids)
            yield request, Response(request.id, text, outcome, len(prompt.ids), len(finished.answer.ids))
            while refused:
                yield refused.popleft()
        yield from refused

    def _prompts(
        self, requests: Sequence[Request], tiles: list[int], refused: deque[tuple[Request, Response]]
    ) -> Iterator[tuple[Request, Prompt]]:
        for request in requests:
            limits = request.generation
            try:
                if limits.temperature:
                    raise ValueError(f"temperature {limits.temperature:g}: this engine decodes greedily only")
                text = chat_prompt(request.prompt, request.system or SYSTEM)
                ids = encode_prompt(self.tokenizer, text, tiles, self.config.tokens_per_tile)
            except ValueError as error:
                refused.append((request, Response(request.id, "", Outcome.MODEL_ERROR, reason=str(error))))
            else:
                yield request, Prompt(ids, limits.max_new_tokens, limits.min_new_tokens)

    def _answer(self, groups: Iterator[Group]) -> Iterator[Finished]:
        try:
            if self.shared:
                yield from self.engine.answer(groups)
                return
            for group in groups:
                for row, prompt in enumerate(group.prompts):
                    (features,) = self._features([group.media])
                    answer = answer_alone(self.network.language_model, prompt, features, self.context_id, self.end_id)
                    yield Finished(group.key, row, answer)
        except (RuntimeError, MemoryError) as error:
            if "CUDA error" in str(error) and "out of memory" not in str(error):  # no later call would succeed
                reason = f"{self.device} is lost ({first_line(error)}); the same command resumes"
                raise ModelUnavailable(reason) from error
            if isinstance(error, MemoryError) or "memory" in str(error):  # a GPU's; a CPU's has no class of its own
                self.engine.shrink()
            raise

    def _features(self, media: Sequence[Pixels | Tensor | None]) -> list[Tensor | None]:
        """Return the features of several groups, (context tokens, width) each; their tiles are encoded together."""
        encoded = self._encode([torch.from_numpy(image) for item in media if isinstance(item, list) for image in item])
        features: list[Tensor | None] = []
        for item in media:
            if isinstance(item, list):
                images = [next(encoded) for _ in item]
                features.append(torch.cat(images).flatten(0, 1) if images else None)
            else:
                features.append(item)
        return features

    def _encode(self, images: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield each image's features, (tiles, tokens, width), from its uint8 tiles, (tiles, S, S, 3)."""
        if not images:
            return
        tiles = torch.cat(list(images))
        if self.device.type == "cuda":  # one asynchronous uint8 transfer; normalised on the GPU
            tiles = tiles.pin_memory().to(self.device, non_blocking=True)
        parts = torch.split(tiles, self.tile_batch)
        features = torch.cat([self.network.image_features(normalise(part, self.dtype)) for part in parts])
        yield from torch.split(features, [len(image) for image in images])

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
        r"""Answer several questions at once, with the signature of the model card's ``batch_chat`` (protocol sheet 4).

        Args:
            tokenizer: the checkpoint's tokenizer (``model.tokenizer``, or a transformers tokenizer).
            pixel_values: normalised tiles of all questions, in order, (tiles, 3, S, S); None for text only.
            questions: user turns; ``<image>\n`` is prepended to one without ``<image>``.
            generation_config: ``max_new_tokens`` (20 if absent), ``min_new_tokens``, ``do_sample`` with
                ``temperature``, ``top_k`` and ``top_p``.
            num_patches_list: tiles of each question's image. Beyond the official method an entry may be a list: the
                tiles of each of several images or frames of that question.

        Returns:
            One answer per question.

        Raises:
            ValueError: inconsistent arguments, or an unsupported generation setting.
        """
        per_question = _images(pixel_values, questions, num_patches_list)
        limits, sampling = _limits(generation_config)
        features: Tensor | None = None
        if pixel_values is not None and len(pixel_values):
            features = self.network.image_features(pixel_values.to(self.device, self.dtype)).flatten(0, 1)
        groups: list[Group] = []
        taken = 0
        for question, tiles in zip(questions, per_question, strict=True):
            if pixel_values is not None and IMAGE not in question:
                question = f"{IMAGE}\n{question}"
            ids = encode_prompt(tokenizer, chat_prompt(question), tiles, self.config.tokens_per_tile)
            count = sum(tiles) * self.config.tokens_per_tile
            own = features[taken : taken + count] if features is not None else None
            groups.append(Group(len(groups), [Prompt(ids, *limits)], 0, own))
            taken += count
        answers = {finished.key: finished.answer.ids for finished in self.engine.answer(groups, sampling)}
        return [self._text(tokenizer, answers[row]) for row in range(len(groups))]


def _images(
    pixel_values: Tensor | None, questions: Sequence[str], num_patches_list: Sequence[int | Sequence[int]] | None
) -> list[list[int]]:
    """Return the tiles of each image of each question."""
    if pixel_values is None:
        if num_patches_list is not None and any(num_patches_list):
            raise ValueError("num_patches_list lists tiles but pixel_values is None")
        return [[] for _ in questions]
    if num_patches_list is None:
        if len(questions) != 1:
            raise ValueError("num_patches_list is required: the tiles of each question's image")
        num_patches_list = [len(pixel_values)]
    if len(num_patches_list) != len(questions):
        raise ValueError(f"num_patches_list has {len(num_patches_list)} entries for {len(questions)} questions")
    images = [[entry] if isinstance(entry, int) else list(entry) for entry in num_patches_list]
    total = sum(map(sum, images))
    if total != len(pixel_values):
        raise ValueError(f"num_patches_list lists {total} tiles, pixel_values holds {len(pixel_values)}")
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
