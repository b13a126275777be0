"""The Qwen2 byte-level BPE tokenizer of an InternVL2-1B checkpoint, from its own files and without torch.

``AutoTokenizer`` would prompt about the checkpoint's remote code, and importing transformers is slow; the
``tokenizers`` library builds the same pipeline from ``vocab.json``, ``merges.txt`` and ``added_tokens.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from evalkit.errors import UsageError, first_line

# The pre-tokenisation pattern published with Qwen2.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class TokenizerLike(Protocol):
    """What the model needs from a tokenizer; transformers' tokenizers qualify too."""

    def encode(self, text: str) -> list[int]:
        """Return token ids; special tokens in the text are recognised, none is added."""

    def decode(self, token_ids: list[int], skip_special_tokens: bool = False) -> str:
        """Return text."""

    def convert_tokens_to_ids(self, tokens: str) -> int:
        """Return the id of one token."""


class ChatTokenizer:
    """The checkpoint's tokenizer.

    Args:
        folder: the checkpoint folder.

    Raises:
        UsageError: its tokenizer files are missing or broken.
    """

    def __init__(self, folder: Path) -> None:
        try:
            bpe = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
            added: dict[str, int] = json.loads((folder / "added_tokens.json").read_text(encoding="utf-8"))
        except Exception as error:  # the Rust side raises plain Exception
            detail = f"vocab.json, merges.txt or added_tokens.json cannot be read ({first_line(error)})"
            raise UsageError(f"{folder}: tokenizer: {detail}") from error
        self._tokenizer = Tokenizer(bpe)
        self._tokenizer.normalizer = normalizers.NFC()
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        self._tokenizer.decoder = decoders.ByteLevel()
        for token, number in sorted(added.items(), key=lambda item: item[1]):
            self._tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
            if self._tokenizer.token_to_id(token) != number:
                raise UsageError(f"{folder}: tokenizer: added token {token!r} cannot get id {number}")

    def encode(self, text: str) -> list[int]:
        """Return token ids; special tokens in the text are recognised, none is added."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, token_ids: list[int], skip_special_tokens: bool = False) -> str:
        """Return text; incomplete UTF-8 becomes the replacement character."""
        text: str = self._tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens)
        return text

    def convert_tokens_to_ids(self, tokens: str) -> int:
        """Return the id of one token.

        Raises:
            UsageError: the token is unknown.
        """
        number: int | None = self._tokenizer.token_to_id(tokens)
        if number is None:
            raise UsageError(f"the checkpoint's tokenizer has no token {tokens!r}")
        return number
