"""InternVL2's network from transformers' own modules, and the loading of official weights into it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, InternVLVisionConfig, InternVLVisionModel, Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

from evalkit.errors import UsageError, first_line
from evalkit.models.internvl2.config import CheckpointConfig, VisionConfig

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Name under which ``scaled_attention`` is registered with transformers.
ATTENTION = "evalkit_sdpa"
# Queries per block of causal attention.
BLOCK = 256
# Weight files that are Python pickles.
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")

# Official vision tensor names -> transformers' InternVLVisionModel (attn.qkv is split into thirds below).
_VISION_NAMES = (
    (r"embeddings\.class_embedding$", "embeddings.cls_token"),
    (r"embeddings\.position_embedding$", "embeddings.position_embeddings"),
    (r"embeddings\.patch_embedding\.", "embeddings.patch_embeddings.projection."),
    (r"encoder\.layers\.", "encoder.layer."),
    (r"\.ls1$", ".lambda_1"),
    (r"\.ls2$", ".lambda_2"),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.projection_layer."),
    (r"\.attn\.([qk])_norm\.", r".attention.\1_norm."),
)


class InternVL2(nn.Module):
    """Vision encoder, projector and language model under the official top-level names.

    Args:
        config: the checked checkpoint config.
        attention: transformers' attention implementation, ``sdpa`` or ``eager``.
    """

    def __init__(self, config: CheckpointConfig, attention: str) -> None:
        super().__init__()
        llm = config.llm_config.model_dump(exclude={"model_type", "rope_scaling"})
        AttentionInterface.register(ATTENTION, _vision_attention)
        vision_attention = ATTENTION if attention == "sdpa" else attention
        self.vision_model = InternVLVisionModel(_vision_config(config.vision_config, vision_attention))
        width = 4 * config.vision_config.hidden_size
        out = config.llm_config.hidden_size
        self.mlp1 = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out), nn.GELU(), nn.Linear(out, out))
        # Qwen2 has attention bias on q, k, v built in; rope_theta and untied embeddings come from the checkpoint.
        self.language_model = Qwen2ForCausalLM(Qwen2Config(**llm, attn_implementation=attention))

    @torch.inference_mode()
    def image_features(self, pixel_values: Tensor) -> Tensor:
        """Encode tiles (protocol sheet 1.5), all at once.

        Args:
            pixel_values: normalised tiles, (tiles, 3, S, S).

        Returns:
            (tiles, tokens per tile, language width).
        """
        return self._encode(pixel_values)

    def tile_bytes(self) -> int:
        """Return about how many bytes a tile takes in the vision encoder, excluding weights."""
        config = self.vision_model.config
        patches = (int(config.image_size[0]) // int(config.patch_size[0])) ** 2 + 1
        return 4 * patches * (8 * int(config.hidden_size) + 2 * int(config.intermediate_size))

    def _encode(self, pixel_values: Tensor) -> Tensor:
        hidden = self.vision_model(pixel_values=pixel_values).last_hidden_state[:, 1:]
        tiles, patches, width = hidden.shape
        side = int(patches**0.5)
        # Pixel shuffle v2: every 2x2 block of patches becomes one token of four times the width, row-major.
        blocks = hidden.reshape(tiles, side, side // 2, 2 * width).permute(0, 2, 1, 3)
        blocks = blocks.reshape(tiles, side // 2, side // 2, 4 * width).permute(0, 2, 1, 3)
        projected: Tensor = self.mlp1(blocks.reshape(tiles, patches // 4, 4 * width))
        return projected


def scaled_attention(query: Tensor, key: Tensor, value: Tensor, causal: bool = False) -> Tensor:
    """Return scaled dot-product attention, (batch, heads, tokens, size); several query heads may share a key head.

    Uses torch's own, except in half precision on a CPU: there torch is slower than in float32, and matrix products
    head by head, as in transformers' ``eager``, are faster than both.
    """
    if query.device.type == "cpu" and query.dtype != torch.float32:
        return _by_head(query, key, value, causal)
    shared = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(shared, dim=1) if shared > 1 else states for states in (key, value))
    return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)


def _by_head(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Attend head by head and, if causal, block by block: scores after a block of queries are not computed."""
    attended = torch.empty(query.shape, dtype=query.dtype)
    rows, heads, tokens, size = query.shape
    block, shared = BLOCK if causal else tokens, heads // key.shape[1]
    query = query * size**-0.5
    later = torch.ones(block, block, dtype=torch.bool).triu(1)
    for row, head, start in product(range(rows), range(heads), range(0, tokens, block)):
        stop = min(start + block, tokens)
        seen = stop if causal else tokens
        scores = query[row, head, start:stop] @ key[row, head // shared, :seen].T
        if causal:
            scores[:, start:].masked_fill_(later[: stop - start, : stop - start], -torch.inf)
        attended[row, head, start:stop] = scores.softmax(dim=-1) @ value[row, head // shared, :seen]
    return attended


def _vision_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, **options: Any
) -> tuple[Tensor, None]:
    """Implement transformers' attention interface: (tiles, heads, patches, size) to (tiles, patches, heads, size)."""
    return scaled_attention(query, key, value).transpose(1, 2), None


def normalise(tiles: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn uint8 tiles (tiles, S, S, 3) into normalised pixels (tiles, 3, S, S), in float32 before the final cast."""
    pixels = tiles.permute(0, 3, 1, 2).to(torch.float32) / 255
    mean, std = (torch.tensor(values, device=tiles.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((pixels - mean) / std).to(dtype).contiguous()


def load_network(
    folder: Path, config: CheckpointConfig, device: torch.device, dtype: torch.dtype, attention: str
) -> InternVL2:
    """Load the official safetensors of a checkpoint folder.

    Raises:
        UsageError: no safetensors, or tensors that do not match the config (names the first ones).
    """
    with torch.device("meta"):
        network = InternVL2(config, attention)
    state = {name: tensor.to(device, dtype) for name, tensor in _official_tensors(folder)}
    _check_fit(folder, network, state)
    network.load_state_dict(state, strict=True, assign=True)
    # Rotary frequencies are not stored with the weights: recomputed, and kept in float32 for every dtype.
    with device:
        network.language_model.model.rotary_emb = Qwen2RotaryEmbedding(config=network.language_model.config)
    return network.eval().requires_grad_(False)


def _check_fit(folder: Path, network: InternVL2, state: dict[str, Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    actual = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for problem, names in (
        ("missing", sorted(expected.keys() - actual.keys())),
        ("unknown", sorted(actual.keys() - expected.keys())),
        ("misshapen", sorted(name for name in expected.keys() & actual.keys() if expected[name] != actual[name])),
    ):
        if names:
            shown = ", ".join(f"{name} {actual.get(name, expected.get(name))}" for name in names[:3])
            raise UsageError(f"{folder}: {len(names)} tensors are {problem} according to config.json: {shown}")


def _vision_config(config: VisionConfig, attention: str) -> InternVLVisionConfig:
    return InternVLVisionConfig(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        image_size=[config.image_size, config.image_size],
        patch_size=[config.patch_size, config.patch_size],
        layer_norm_eps=config.layer_norm_eps,
        hidden_act=config.hidden_act,
        norm_type=config.norm_type,
        attention_bias=config.qkv_bias,
        use_qk_norm=config.qk_normalization,
        use_mean_pooling=True,  # False would add a final LayerNorm that the official encoder lacks
        attn_implementation=attention,
    )


def _official_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        _refuse_pickles(folder)
    for file in files:
        try:
            with safe_open(str(file), framework="pt") as tensors:
                names = list(tensors.keys())
            for name in names:  # reopened: pages already read and converted are freed with the mapping
                with safe_open(str(file), framework="pt") as tensors:
                    tensor = tensors.get_tensor(name)
                yield from translated(name, tensor)
                del tensor
        except (SafetensorError, OSError) as error:
            raise UsageError(f"{file}: not a readable safetensors file ({first_line(error)})") from error


def _refuse_pickles(folder: Path) -> NoReturn:
    """Raise the error for a checkpoint without safetensors, with a command that converts its pickles."""
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if not pickles:
        raise UsageError(f"{folder}: no *.safetensors and no other weights found")
    raise UsageError(
        f"{folder}: no *.safetensors, and {', '.join(pickles[:3])} may run code when read; convert each file there: "
        'python -c "import sys, torch, safetensors.torch as s; s.save_file({k: v.clone().contiguous() for k, v in '
        "torch.load(sys.argv[1], map_location='cpu', weights_only=True).items()}, sys.argv[2])\" "
        f"{pickles[0]} {Path(pickles[0]).stem}.safetensors"
    )


def translated(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield an official tensor under its name here; the vision encoder's fused qkv is split into three."""
    if not name.startswith("vision_model."):
        yield name, tensor
        return
    for pattern, replacement in _VISION_NAMES:
        name = re.sub(pattern, replacement, name)
    if ".attn.qkv." in name:
        for part, third in zip("qkv", tensor.chunk(3), strict=True):
            yield name.replace(".attn.qkv.", f".attention.{part}_proj."), third.contiguous()
    else:
        yield name, tensor
