"""The tiny model's checkpoint in the official InternVL2 layout: config, shapes, and its export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from evalkit.models.internvl2.network import InternVL2, translated
from scripts.demo.files import write_json
from scripts.demo.tiny.first_values import align_words, prepare_attention, random_values
from scripts.demo.tiny.records import TILE
from scripts.demo.tiny.vocabulary import END, SPECIAL, write_tokenizer

NOTE = "tiny demo model, trained on drawings: its scores say nothing about InternVL2"
PATCH = 14
THETA = 1000000.0
VISION = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
LANGUAGE = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
}

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def write_untrained(folder: Path, texts: Iterable[str]) -> None:
    """Write config, tokenizer and random weights.

    Args:
        folder: the checkpoint folder.
        texts: what the tokenizer is learnt from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder, texts)
    tokens = len(vocabulary) + len(SPECIAL)
    end = len(vocabulary) + SPECIAL.index(END)
    write_json(folder / "config.json", _config(tokens, end))
    write_json(
        folder / "generation_config.json",
        {"_from_model_config": True, "transformers_version": "4.37.2", "eos_token_id": [end - 1, end]},
    )
    weights = {name: random_values(name, shape) for name, shape in _shapes(tokens)}
    align_words(weights, vocabulary)
    prepare_attention(weights, LANGUAGE, THETA)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def export(network: InternVL2, folder: Path) -> None:
    """Write a network's weights over those of its checkpoint folder: official names, half precision."""
    state = network.state_dict()
    tensors = {}
    for name, shape in _shapes(network.language_model.config.vocab_size):
        parts = [state[native] for native, _ in translated(name, torch.empty(shape))]
        tensors[name] = torch.cat(parts).to(torch.float16).contiguous()
    save_tensors(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _config(tokens: int, end: int) -> dict[str, Any]:
    """Return the official config's keys with tiny sizes."""
    return {
        "architectures": ["InternVLChatModel"],
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "evalkit_note": NOTE,
        "force_image_size": TILE,
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
            "rope_theta": THETA,
            "sliding_window": 32768,
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
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
        "torch_dtype": "float16",
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
            "image_size": TILE,
            "initializer_factor": 1.0,
            "initializer_range": 0.02,
            "layer_norm_eps": 1e-06,
            "model_type": "intern_vit_6b",
            "norm_type": "layer_norm",
            "num_channels": 3,
            "patch_size": PATCH,
            "qk_normalization": False,
            "qkv_bias": True,
            "torch_dtype": "float16",
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
    yield "vision_model.embeddings.position_embedding", (1, (TILE // PATCH) ** 2 + 1, width)
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
