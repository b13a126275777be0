"""A tiny checkpoint in the official InternVL2 layout with random weights: it runs, and answers noise."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.demo.files import write_json
from evalkit.demo.vocabulary import END, SPECIAL, write_tokenizer

NOTE = "random weights: answers and scores are noise"
PATCH, IMAGE = 14, 112
VISION = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
LANGUAGE = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
# Every token's embedding and the end token's output row share a direction: else random weights would hardly ever end
# an answer, and every answer would run to its limit.
_END_PULL = 1.25

Shapes = Iterator[tuple[str, tuple[int, ...]]]
Array = npt.NDArray[np.float32]


def write_checkpoint(folder: Path, texts: Sequence[str]) -> None:
    """Write config, tokenizer and weights.

    Args:
        folder: the checkpoint folder.
        texts: what the tokenizer is learnt from.
    """
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    tokens = write_tokenizer(folder, texts)
    end = tokens - len(SPECIAL) + SPECIAL.index(END)
    write_json(folder / "config.json", _config(tokens, end))
    write_json(
        folder / "generation_config.json",
        {"_from_model_config": True, "transformers_version": "4.37.2", "eos_token_id": [end - 1, end]},
    )
    weights = {name: _tensor(name, shape) for name, shape in _shapes(tokens)}
    weights["language_model.model.embed_tokens.weight"][:, 0] = _END_PULL
    weights["language_model.lm_head.weight"][end, 0] += _END_PULL
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))


def _config(tokens: int, end: int) -> dict[str, Any]:
    """Return the official config's keys with tiny sizes."""
    return {
        "architectures": ["InternVLChatModel"],
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "evalkit_note": NOTE,
        "force_image_size": IMAGE,
        "llm_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "attention_dropout": 0.0,
            "bos_token_id": end - 2,
            "eos_token_id": end,
            "hidden_act": "silu",
            **LANGUAGE,
            "initializer_range": 0.02,
            "max_position_embeddings": 32768,
            "max_window_layers": LANGUAGE["num_hidden_layers"],
            "model_type": "qwen2",
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": 32768,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": tokens,
        },
        "max_dynamic_patch": 12,
        "min_dynamic_patch": 1,
        "model_type": "internvl_chat",
        "ps_version": "v2",
        "select_layer": -1,
        "template": "Hermes-2",
        "torch_dtype": "float32",
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "use_thumbnail": True,
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "attention_dropout": 0.0,
            "drop_path_rate": 0.0,
            "dropout": 0.0,
            "hidden_act": "gelu",
            **VISION,
            "image_size": IMAGE,
            "initializer_factor": 1.0,
            "initializer_range": 0.02,
            "layer_norm_eps": 1e-06,
            "model_type": "intern_vit_6b",
            "norm_type": "layer_norm",
            "num_channels": 3,
            "patch_size": PATCH,
            "qk_normalization": False,
            "qkv_bias": True,
            "torch_dtype": "float32",
            "use_flash_attn": True,
        },
    }


def _shapes(tokens: int) -> Shapes:
    """Yield the official names and the shapes of all tensors."""
    vision, language = VISION["hidden_size"], LANGUAGE["hidden_size"]
    yield from _vision_shapes()
    # The bridge takes four patches' features at once (pixel shuffle).
    yield from _norm("mlp1.0", 4 * vision)
    yield from _linear("mlp1.1", language, 4 * vision)
    yield from _linear("mlp1.3", language, language)
    yield "language_model.model.embed_tokens.weight", (tokens, language)
    for layer in range(LANGUAGE["num_hidden_layers"]):
        yield from _language_layer(f"language_model.model.layers.{layer}.")
    yield "language_model.model.norm.weight", (language,)
    yield "language_model.lm_head.weight", (tokens, language)


def _vision_shapes() -> Shapes:
    width, inner = VISION["hidden_size"], VISION["intermediate_size"]
    yield "vision_model.embeddings.class_embedding", (1, 1, width)
    yield "vision_model.embeddings.position_embedding", (1, (IMAGE // PATCH) ** 2 + 1, width)
    yield "vision_model.embeddings.patch_embedding.weight", (width, 3, PATCH, PATCH)
    yield "vision_model.embeddings.patch_embedding.bias", (width,)
    for layer in range(VISION["num_hidden_layers"]):
        prefix = f"vision_model.encoder.layers.{layer}."
        yield from ((prefix + scale, (width,)) for scale in ("ls1", "ls2"))
        yield from _linear(prefix + "attn.qkv", 3 * width, width)
        yield from _linear(prefix + "attn.proj", width, width)
        yield from _linear(prefix + "mlp.fc1", inner, width)
        yield from _linear(prefix + "mlp.fc2", width, inner)
        yield from _norm(prefix + "norm1", width)
        yield from _norm(prefix + "norm2", width)


def _language_layer(prefix: str) -> Shapes:
    width, inner = LANGUAGE["hidden_size"], LANGUAGE["intermediate_size"]
    shared = width // LANGUAGE["num_attention_heads"] * LANGUAGE["num_key_value_heads"]
    yield from _linear(prefix + "self_attn.q_proj", width, width)
    yield from _linear(prefix + "self_attn.k_proj", shared, width)
    yield from _linear(prefix + "self_attn.v_proj", shared, width)
    yield prefix + "self_attn.o_proj.weight", (width, width)
    yield prefix + "mlp.gate_proj.weight", (inner, width)
    yield prefix + "mlp.up_proj.weight", (inner, width)
    yield prefix + "mlp.down_proj.weight", (width, inner)
    yield prefix + "input_layernorm.weight", (width,)
    yield prefix + "post_attention_layernorm.weight", (width,)


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    yield name + ".weight", (outputs, inputs)
    yield name + ".bias", (outputs,)


def _norm(name: str, width: int) -> Shapes:
    yield name + ".weight", (width,)
    yield name + ".bias", (width,)


def _tensor(name: str, shape: tuple[int, ...]) -> Array:
    """Return random values of a size that keeps activations near 1; the name is the seed."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    middle, width = 0.0, float(np.prod(shape[1:])) ** -0.5
    if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "mlp1.0.weight")):
        middle, width = 1.0, 0.1
    elif name.endswith((".ls1", ".ls2")):
        middle, width = 0.1, 0.03
    elif name.endswith("bias"):
        width = 0.05
    elif "embedding" in name or "embed_tokens" in name:
        width = width if "patch" in name else 0.5
    values: Array = (middle + width * noise).astype(np.float32)
    return values
