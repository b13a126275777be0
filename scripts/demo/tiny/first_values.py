"""Initial weights of the tiny model: random, except for what lets so small a model learn to look things up.

Trained from plain random weights, a model of this size and this little data learns which kind of answer a question
wants, but not to find the word of the question among the options or in the picture: that takes two attention layers
that depend on each other, and neither learns without the other. So they start out that way: in the first layer
two heads look one and two tokens back and copy what they see; in every layer one head looks for tokens like
this one and, after the first layer, one looks for tokens like the one before and copies what is two tokens before
the match ("B. red" ... "red:" gives "B"). A word has nearly the same vector with or without a space before it, in
English and in Chinese, and where a picture shows it. All of it is trained on, nothing is kept fixed.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import decoders

from scripts.demo.choices import SIDES
from scripts.demo.drawing import WHOLE
from scripts.demo.words import COLOUR_WORDS, NAME_WORDS, RGB, SHAPE_WORDS

Array = npt.NDArray[np.float32]

LENGTH = 4.0  # of an embedding
_ALIKE = 0.95  # cosine between a token's first embedding and the vector of its word
_HEAD = 0.25  # first weights of the answers' tokens as a part of their embeddings
_BACK, _LIKE, _COPY, _COPY_FOUND = 6.0, 1.5, 0.7, 0.5  # strength of looking back, of looking for likes, of copying
_QUIET = 0.3  # what heads that look back see of the tokens
_FAST = 0.15  # radians a token: rotary pairs above tell neighbours apart
_SLOW = 0.43  # share of the rotary pairs, the faster ones, that likes are not sought with
# What the layers add is small at first beside the embeddings.
_FACTORS = {"embed_tokens": LENGTH, "o_proj": 0.1, "down_proj": 0.1, "mlp1.3": 0.3}
_ENGLISH = {word.cn: word.en.lower() for word in (*COLOUR_WORDS, *SHAPE_WORDS, *NAME_WORDS, *SIDES)}
_COLOUR = {str(rgb): name for name, rgb in RGB.items()}


def random_values(name: str, shape: tuple[int, ...]) -> Array:
    """Return random values of a size that keeps activations near 1; the name is the seed."""
    if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "layernorm.weight", "mlp1.0.weight")):
        return np.ones(shape, np.float32)
    if name.endswith((".ls1", ".ls2")):
        return np.full(shape, 0.5, np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    width = 0.02 if "embedding" in name and "patch" not in name else float(np.prod(shape[1:])) ** -0.5
    for part, factor in _FACTORS.items():
        width *= factor if part in name else 1.0
    values: Array = (width * noise).astype(np.float32)
    return values


def note_vector(label: str, width: int) -> Array:
    """Return the first code of a note, of length 1: for what is a word, that of the word."""
    digit, _, place = label.removeprefix(WHOLE).partition(" at ")
    vector = _vector(_COLOUR.get(label, digit).lower(), width)
    if place:
        vector = vector + 0.7 * _vector(f"place {place}", width)
    unit: Array = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


def align_words(weights: dict[str, Array], vocabulary: Sequence[str]) -> None:
    """Give the tokens of a word nearly the same embedding, and the answers' tokens the direction of theirs.

    Args:
        weights: by official name; changed in place.
        vocabulary: the byte-level tokens in order of id, without special tokens.
    """
    embeddings = weights["language_model.model.embed_tokens.weight"]
    decoder = decoders.ByteLevel()
    for number, token in enumerate(vocabulary):
        text = decoder.decode([token]).strip(" .,()\n:?\"'")
        if word := _ENGLISH.get(text, text.lower()):
            vector = _vector(word, embeddings.shape[1])
            embeddings[number] = (1 - _ALIKE**2) ** 0.5 * embeddings[number] + _ALIKE * LENGTH * vector
    weights["language_model.lm_head.weight"] = _HEAD * embeddings


def prepare_attention(weights: dict[str, Array], config: Mapping[str, int], theta: float) -> None:
    """Initialise heads that depend on each other, see the module docstring.

    Args:
        weights: by official name; changed in place.
        config: sizes of the language model; its key heads are at least two, with at least two query heads each.
        theta: base of the rotary embedding.
    """
    width, heads = config["hidden_size"], config["num_attention_heads"]
    size, shared = width // heads, heads // config["num_key_value_heads"]
    rng = np.random.default_rng(zlib.crc32(b"attention"))
    basis = np.linalg.qr(rng.standard_normal((width, width)))[0].T.astype(np.float32)
    own, before = basis[:size], [basis[size * place : size * (place + 1)] for place in range(1, shared + 1)]
    turns = theta ** (-np.arange(size // 2) / (size // 2))
    slow = np.tile(np.arange(size // 2) >= int(_SLOW * (size // 2)), 2)[:, None]
    likes = _LIKE * slow * own
    for layer in range(config["num_hidden_layers"]):
        part = {
            letter: weights[f"language_model.model.layers.{layer}.self_attn.{letter}_proj.weight"] for letter in "qkvo"
        }
        part["k"][size : 2 * size] = likes
        part["q"][shared * size : (shared + 1) * size] = likes
        if layer:
            part["q"][(shared + 1) * size : (shared + 2) * size] = 1.3 * _LIKE * slow * before[0]
            part["v"][size : 2 * size] = before[1]
            part["o"][:, (shared + 1) * size : (shared + 2) * size] = _COPY_FOUND * own.T
            part["k"][2 * size : 3 * size] = 1.3 * _LIKE * slow * before[1]
            part["q"][2 * shared * size : (2 * shared + 1) * size] = likes
            part["q"][(2 * shared + 1) * size : (2 * shared + 2) * size] = 1.3 * _LIKE * slow * before[0]
            part["v"][2 * size : 3 * size] = own
            part["o"][:, 2 * shared * size : (2 * shared + 2) * size] = _COPY_FOUND * np.tile(own.T, 2)
            continue
        loud = np.where(turns > _FAST, _BACK, 0.0)
        bias = {letter: weights[f"language_model.model.layers.0.self_attn.{letter}_proj.bias"] for letter in "qk"}
        part["k"][:size] *= _QUIET
        part["v"][:size] = own
        bias["k"][: size // 2] = loud
        for head in range(shared):
            rows = slice(head * size, (head + 1) * size)
            part["q"][rows] *= _QUIET
            angles = turns * (head + 1)
            bias["q"][rows] = np.concatenate([loud * np.cos(angles), -loud * np.sin(angles)])
            part["o"][:, rows] = _COPY * before[head].T


def _vector(word: str, width: int) -> npt.NDArray[np.float64]:
    """Return the word's vector of length 1; the word is the seed."""
    vector = np.random.default_rng(zlib.crc32(word.encode())).standard_normal(width)
    found: npt.NDArray[np.float64] = vector / np.linalg.norm(vector)
    return found
