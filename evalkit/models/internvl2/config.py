"""Reads and checks ``config.json`` of an official InternVL2 checkpoint; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.errors import UsageError, first_line

MODEL_TYPE = "internvl_chat"


class VisionConfig(BaseModel):
    """The InternViT part of the config; official key names."""

    model_config = ConfigDict(extra="ignore")

    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    image_size: int = Field(gt=0)
    patch_size: int = Field(gt=0)
    num_channels: Literal[3] = 3
    layer_norm_eps: float = 1e-6
    hidden_act: str = "gelu"
    norm_type: Literal["layer_norm", "rms_norm"] = "layer_norm"
    qkv_bias: bool = True
    qk_normalization: bool = False


class LanguageConfig(BaseModel):
    """The language model's part: the keys of ``Qwen2Config`` that shape the network."""

    model_config = ConfigDict(extra="ignore")

    model_type: Literal["qwen2"]
    vocab_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int = Field(gt=0)
    max_position_embeddings: int = Field(gt=0)
    hidden_act: str = "silu"
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: None = None
    tie_word_embeddings: bool = False
    use_sliding_window: Literal[False] = False


class CheckpointConfig(BaseModel):
    """What evalkit needs from an InternVL2 ``config.json``.

    ``auto_map`` is never followed, and ``_attn_implementation`` (flash attention in the released file) is ignored:
    evalkit chooses the network and its attention.
    """

    model_config = ConfigDict(extra="ignore")

    model_type: Literal["internvl_chat"]
    template: Literal["Hermes-2"]
    ps_version: Literal["v2"]
    select_layer: Literal[-1]
    downsample_ratio: float = Field(ge=0.5, le=0.5)
    force_image_size: int | None = None
    use_thumbnail: bool = True
    vision_config: VisionConfig
    llm_config: LanguageConfig
    evalkit_note: str | None = None

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels."""
        return self.force_image_size or self.vision_config.image_size

    @property
    def tokens_per_tile(self) -> int:
        """Image tokens of one tile: patches after the pixel shuffle (256 for 448 pixels)."""
        return (self.tile_size // self.vision_config.patch_size // 2) ** 2


def resolve_checkpoint(name: str) -> Path:
    """Return the checkpoint folder for a path or a Hub id.

    Raises:
        UsageError: the folder does not exist, or the download failed.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UsageError(f"model {name!r} is neither a checkpoint folder nor a Hub id (owner/name)")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "merges.txt"]))
    except Exception as error:  # the Hub client raises its HTTP library's errors, which share no base class
        raise UsageError(
            f"model {name!r} is not a local folder, and downloading it from the Hub failed: {first_line(error)}"
        ) from error


def read_config(folder: Path) -> CheckpointConfig:
    """Read and check a checkpoint's config.

    Raises:
        UsageError: the file is missing or malformed, or describes another architecture; names the key and the reason.
    """
    path = folder / "config.json"
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); a checkpoint folder contains a config.json"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON ({first_line(error)})") from error
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind != MODEL_TYPE:
        raise UsageError(f"{path}: model_type is {kind!r}; evalkit reads checkpoints of model_type {MODEL_TYPE!r}")
    try:
        config = CheckpointConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: key {key!r}: {first['msg']} (got {first['input']!r:.80})") from error
    if config.tile_size != config.vision_config.image_size:
        raise UsageError(
            f"{path}: force_image_size {config.tile_size} differs from vision_config.image_size "
            f"{config.vision_config.image_size}; resized position embeddings are not supported"
        )
    if config.tile_size % (2 * config.vision_config.patch_size):
        raise UsageError(f"{path}: tile size {config.tile_size} is not a multiple of twice the patch size")
    return config
