"""A small byte-level BPE tokenizer in the files of Qwen2's, learnt from the lessons' own texts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from scripts.demo.files import write_json

# The order of the released checkpoint, where they follow the vocabulary.
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>",
    "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
)  # fmt: skip
PAD, END = SPECIAL[0], SPECIAL[2]
VOCABULARY = 1012  # most bytes and merges, special tokens not counted
# The pre-tokenisation pattern published with Qwen2.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def write_tokenizer(folder: Path, texts: Iterable[str]) -> list[str]:
    """Learn merges from texts and write the tokenizer's files.

    Args:
        folder: the checkpoint folder.
        texts: whole prompts and answers.

    Returns:
        The byte-level tokens in order of id; the special ones follow them.
    """
    corpus = list(texts)
    # Special tokens never reach the merges.
    for token in SPECIAL:
        corpus = [text.replace(token, "\n") for text in corpus]
    vocab, merges = _learn(corpus)
    added = {token: len(vocab) + place for place, token in enumerate(SPECIAL)}
    write_json(folder / "vocab.json", vocab)
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_bytes(("\n".join(lines) + "\n").encode("utf-8"))
    write_json(folder / "added_tokens.json", dict(sorted(added.items())))
    write_json(folder / "special_tokens_map.json", _special_tokens_map())
    write_json(folder / "tokenizer_config.json", _config(added))
    return list(vocab)


def _learn(corpus: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary in order of id and the merges in order of rank."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated")
    tokens = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, tokens])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab: dict[str, int] = dict(sorted(model["vocab"].items(), key=lambda item: int(item[1])))
    return vocab, [(left, right) for left, right in model["merges"]]


def _special_tokens_map() -> dict[str, object]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "additional_special_tokens": list(SPECIAL[1:]),
        "eos_token": {"content": END, **flags},
        "pad_token": {"content": PAD, **flags},
    }


def _config(added: dict[str, int]) -> dict[str, object]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        "add_eos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(number): {"content": token, **flags} for token, number in added.items()},
        "additional_special_tokens": list(SPECIAL[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "errors": "replace",
        "model_max_length": 8192,
        "pad_token": PAD,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
