"""The Hermes-2 prompt of InternVL2-1B (protocol sheet 1.4, 4); never the tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.models.internvl2.tokenizer import TokenizerLike

# Full-width comma, then an ASCII comma and a space: kept as the benchmarks were run.
SYSTEM = "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"
END = "<|im_end|>"
IMAGE = "<image>"
CONTEXT = "<IMG_CONTEXT>"


def chat_prompt(question: str, system: str = SYSTEM) -> str:
    """Return the whole prompt of one user turn; there is no newline between ``<|im_end|>`` and ``<|im_start|>``."""
    return f"<|im_start|>system\n{system}{END}<|im_start|>user\n{question}{END}<|im_start|>assistant\n"


def encode_prompt(tokenizer: TokenizerLike, text: str, tiles: Sequence[int], tokens_per_tile: int) -> list[int]:
    """Return the token ids of a prompt, its ``<image>`` markers replaced left to right by image tokens.

    Every image becomes ``<img>``, ``tokens_per_tile`` context tokens per tile, ``</img>``. Only one context token per
    image is tokenized: special tokens never merge with their neighbours, so the id is repeated.

    Args:
        tokenizer: the checkpoint's tokenizer.
        text: a prompt.
        tiles: number of tiles of each image.
        tokens_per_tile: image tokens per tile.

    Raises:
        ValueError: there are fewer markers than images, or the text already contains context tokens.
    """
    if text.count(IMAGE) < len(tiles):
        raise ValueError(f"the prompt has {text.count(IMAGE)} {IMAGE} markers for {len(tiles)} images")
    if CONTEXT in text:
        raise ValueError(f"the question itself contains a {CONTEXT} token")
    for count in tiles:
        text = text.replace(IMAGE, f"<img>{CONTEXT if count else ''}</img>", 1)
    context_id = tokenizer.convert_tokens_to_ids(CONTEXT)
    counts = iter(count for count in tiles if count)
    ids: list[int] = []
    for token in tokenizer.encode(text):
        ids.extend([token] * (next(counts) * tokens_per_tile) if token == context_id else [token])
    return ids


def prompt_length(tokenizer: TokenizerLike, text: str, images: int, tiles: int, tokens_per_tile: int) -> int | None:
    """Return a prompt's length in tokens; None if it cannot be encoded (too few markers, or context tokens)."""
    if CONTEXT in text or text.count(IMAGE) < images:
        return None
    return len(encode_prompt(tokenizer, text, [0] * images, tokens_per_tile)) + tiles * tokens_per_tile
