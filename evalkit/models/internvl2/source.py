"""An InternVL2 checkpoint before its weights are loaded; imports torch only to benchmark a device and to load."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evalkit.data.hashes import cached_sha256
from evalkit.data.root import file_sha256
from evalkit.errors import UsageError, first_line
from evalkit.models.base import LocalRank, Rendered, Source, Work
from evalkit.models.internvl2.config import read_config, resolve_checkpoint
from evalkit.models.internvl2.prompt import SYSTEM, chat_prompt, prompt_length
from evalkit.models.internvl2.tokenizer import ChatTokenizer
from evalkit.requests import marker_count

if TYPE_CHECKING:
    import torch

    from evalkit.models.internvl2.model import InternVL2Model
    from evalkit.records import Layout, Request

FILES = ("config.json", "vocab.json", "merges.txt", "added_tokens.json", "model.safetensors.index.json")
# Fraction of the measured matmul speed that a run reaches.
EFFICIENCY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class InternVL2Options:
    """How a checkpoint is loaded and run.

    Attributes:
        device: ``auto`` (CUDA if there is one, else the CPU) or a torch device.
        dtype: ``auto`` (bfloat16 on CUDA, float32 on the CPU) or a torch dtype's name.
        attention: ``sdpa`` or ``eager``. The released config asks for flash attention; torch's SDPA uses its own
            flash kernels if the device supports them, so no extra package is needed.
        engine: ``grouped``, or ``reference`` (the official loop, one question at a time).
        memory_fraction: share of the device's memory that the job may use, weights included.
    """

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: Literal["sdpa", "eager"] = "sdpa"
    engine: Literal["grouped", "reference"] = "grouped"
    memory_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.8


class InternVL2Source(Source):
    """A checkpoint folder or Hub id.

    Args:
        name: the folder or id.
        options: how it is loaded.

    Raises:
        UsageError: the checkpoint does not exist, or its config is unusable.
    """

    options = InternVL2Options
    wants = "tiles"

    def __init__(self, name: str, options: InternVL2Options) -> None:
        self.chosen = options
        self.folder = resolve_checkpoint(name)
        self.config = read_config(self.folder)
        self.tile_size = self.config.tile_size

    @cached_property
    def tokenizer(self) -> ChatTokenizer:
        """Its tokenizer."""
        return ChatTokenizer(self.folder)

    def fingerprint(self) -> dict[str, dict[str, str]]:
        """Return the hash of each file that an answer depends on; those of weights are cached."""
        return {"checkpoint": checkpoint_sha256(self.folder)}

    def render(self, request: Request, layouts: Sequence[Layout]) -> Rendered:
        """Return the chat prompt and its length."""
        text = chat_prompt(request.prompt, request.system or SYSTEM)
        images = marker_count(request, layouts)
        tiles = sum(item.tiles * item.images for item in layouts)
        return Rendered(text, prompt_length(self.tokenizer, text, images, tiles, self.config.tokens_per_tile))

    def seconds(self, work: Work) -> float:
        """Return the time for some work, from the sizes in config.json and a short matrix benchmark on the device."""
        vision, language = self._parameters()
        patches = (self.config.tile_size // self.config.vision_config.patch_size) ** 2
        # The questions on an image share its prefix, which is computed once.
        tokens = work.tokens - (work.shown_tiles - work.tiles) * self.config.tokens_per_tile
        return 2 * (work.tiles * patches * vision + tokens * language) / (self._speed * EFFICIENCY)

    def _parameters(self) -> tuple[int, int]:
        """Return the weights applied per patch and per token: matrices of the vision and of the language model."""
        vit, llm = self.config.vision_config, self.config.llm_config
        vision = vit.num_hidden_layers * (4 * vit.hidden_size**2 + 2 * vit.hidden_size * vit.intermediate_size)
        kv = llm.hidden_size // llm.num_attention_heads * llm.num_key_value_heads
        layer = 2 * llm.hidden_size**2 + 2 * llm.hidden_size * kv + 3 * llm.hidden_size * llm.intermediate_size
        return vision, llm.num_hidden_layers * layer

    @cached_property
    def _speed(self) -> float:
        """Floating-point operations per second of a matrix product in the dtype of the run."""
        import torch

        device = resolve_device(self.chosen.device)
        matrix = torch.ones(1024, 1024, device=device, dtype=self._dtype(device))
        float((matrix @ matrix)[0, 0])
        started, rounds = time.perf_counter(), 20
        for _ in range(rounds):
            product = matrix @ matrix
        float(product[0, 0])  # waits for the device
        return 2 * 1024**3 * rounds / (time.perf_counter() - started)

    def _dtype(self, device: torch.device) -> torch.dtype:
        import torch

        name: str = self.chosen.dtype
        if name == "auto":
            name = "bfloat16" if device.type == "cuda" else "float32"
        dtype: torch.dtype = getattr(torch, name)
        return dtype

    def open(self, local: LocalRank) -> InternVL2Model:
        """Load it on this process's device.

        Raises:
            UsageError: the weights or the device cannot be used.
        """
        import torch

        from evalkit.models.internvl2.model import InternVL2Model

        name = self.chosen.device
        if name in ("auto", "cuda") and torch.cuda.is_available():
            name = f"cuda:{local.rank % torch.cuda.device_count()}"
        if local.world > 1:  # torchrun sets one thread; without it every rank would use all cores
            torch.set_num_threads(max(1, _cores() // local.world))
        device = resolve_device(name)
        return InternVL2Model(
            self.folder, device, self._dtype(device), self.chosen.attention, self.chosen.engine == "grouped",
            self.chosen.memory_fraction, local.world,
        )  # fmt: skip


def checkpoint_sha256(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a checkpoint that an answer depends on; those of weights are cached."""
    weights = {path.name: cached_sha256(path) for path in folder.glob("*.safetensors")}
    small = (folder / name for name in FILES)
    return dict(sorted((weights | {path.name: file_sha256(path) for path in small if path.is_file()}).items()))


def resolve_device(device: str) -> torch.device:
    """Return a usable torch device; ``auto`` is CUDA if there is one, else the CPU.

    Raises:
        UsageError: it cannot be used.
    """
    import torch

    try:
        resolved = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UsageError(f"device {device!r} cannot be used: {first_line(error)}") from error
    return resolved


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
