"""Checkpoints of random weights in the official layout, for benchmarks: their answers mean nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from evalkit.demo import CHECKPOINT
from evalkit.models.internvl2.config import read_config
from evalkit.models.internvl2.network import InternVL2

NOTE = "random weights, for benchmarks: its answers mean nothing"
_VOCABULARY = 151655  # of InternVL2-1B
# Sizes of vision encoder and language model: width, inner width, layers, heads, key heads.
SIZES: dict[str, tuple[tuple[int, int, int, int], tuple[int, int, int, int, int]]] = {
    "tiny": ((128, 512, 2, 4), (128, 512, 2, 4, 2)),
    "small": ((384, 1536, 6, 6), (384, 1536, 6, 6, 2)),
    "1b": ((1024, 4096, 24, 16), (896, 4864, 24, 14, 2)),  # InternVL2-1B
}
_OFFICIAL = (
    ("embeddings.cls_token", "embeddings.class_embedding"),
    ("embeddings.position_embeddings", "embeddings.position_embedding"),
    ("patch_embeddings.projection", "patch_embedding"),
    ("encoder.layer.", "encoder.layers."),
    ("lambda_1", "ls1"),
    ("lambda_2", "ls2"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("attention.projection_layer", "attn.proj"),
)


def write_random(folder: Path, size: str, dtype: torch.dtype) -> Path:
    """Write a checkpoint of one of ``SIZES`` with tiles of 448 pixels and the demo's tokenizer.

    Args:
        folder: created if absent.
        size: a key of ``SIZES``.
        dtype: of the stored weights.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in CHECKPOINT.iterdir():
        if file.suffix in (".json", ".txt") and file.name != "config.json":
            shutil.copy(file, folder)
    config: dict[str, Any] = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    vision, language = SIZES[size]
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    config["vision_config"] |= dict(zip(names, vision, strict=False)) | {"image_size": 448, "patch_size": 14}
    config["llm_config"] |= dict(zip(names, language, strict=True)) | {"vocab_size": _VOCABULARY}
    config |= {"force_image_size": 448, "evalkit_note": NOTE}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with torch.device("meta"):
        network = InternVL2(read_config(folder), "sdpa")
    torch.manual_seed(0)
    save_file(dict(_tensors(network, dtype)), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _tensors(network: InternVL2, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in network.state_dict().items():
        shape = list(tensor.shape)
        if name.startswith("vision_model."):
            if ".attention.k_proj." in name or ".attention.v_proj." in name:
                continue
            if ".attention.q_proj." in name:
                name, shape[0] = name.replace(".attention.q_proj.", ".attn.qkv."), 3 * shape[0]
            for native, official in _OFFICIAL:
                name = name.replace(native, official)
        if name.endswith(
            ("norm.weight", "norm1.weight", "norm2.weight", "layernorm.weight", "mlp1.0.weight", "ls1", "ls2")
        ):
            yield name, torch.ones(shape, dtype=dtype)
        else:
            fan_in = torch.Size(shape[1:]).numel() if len(shape) > 1 else shape[0]
            yield name, (torch.randn(shape) * fan_in**-0.5).to(dtype)
