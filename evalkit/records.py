"""The records that flow through evalkit: frozen dataclasses and nothing else.

files -> Sample -> Request (recipe applied) -> Response -> Score
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le


class Outcome(str, Enum):
    """What happened to one sample; every sample has exactly one outcome and stays in ``n``."""

    OK = "ok"
    UNPARSED = "unparsed"
    TRUNCATED = "truncated"
    MEDIA_ERROR = "media_error"
    MODEL_ERROR = "model_error"
    MISSING = "missing"
    UNJUDGED = "unjudged"

    @property
    def failed(self) -> bool:
        """Whether there is nothing to score (the sample scores 0 without its scorer)."""
        return self in (Outcome.MEDIA_ERROR, Outcome.MODEL_ERROR, Outcome.MISSING, Outcome.UNJUDGED)


MediaKind = Literal["image", "row", "video", "frames", "gif"]
FrameRule = Literal["segment_middle", "even_step"]

Positive = Annotated[int, Ge(1)]
Count = Annotated[int, Ge(0)]


@dataclass(frozen=True, slots=True)
class Media:
    """One image or video of a sample.

    Attributes:
        path: path in the official layout, POSIX, starting with ``data/``. For ``row`` it continues after a ``#``:
            ``<tsv>#<index>`` is a base64 image in the ``image`` column of that row, ``<tsv>#<index>/<k>`` the k-th
            (0-based) of a cell that lists several, ``<parquet>#<0-based row>/<column>`` the image in that cell.
        kind: ``image`` file, ``row`` of a TSV or Parquet file, ``video`` file, folder of ``frames`` or ``gif``.
        start: first second of the part of a video that is asked about; None: its beginning.
        end: last second of that part; None: its end.
        lossless: whether the official code keeps this picture lossless, so that a look's JPEG pass skips it.
    """

    path: str
    kind: MediaKind = "image"
    start: float | None = None
    end: float | None = None
    lossless: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One question of a benchmark, as its files hold it, before any recipe.

    Attributes:
        id: unique in its task (the official id, or the 0-based line number).
        question: the benchmark's own question text, options included.
        media: images or videos in the order in which the prompt shows them.
        references: gold answers; empty if labels are hidden. Strings, or boxes (x1, y1, x2, y2) in pixels.
        group: samples with the same group share their media; the cluster of the bootstrap.
        subset: sub-task or category, for the score breakdown.
        fields: anything else the scorer needs (options, image size, ...).
        keys: what metrics group samples by, or the gold label (``image``, ``figure``, ``label``, ...): texts by name.
        more_subsets: further subsets that it is part of (capabilities, dimensions, domains).
        form: kind of question, which selects one of the recipe's ``suffixes`` (``choice``, ``open``, ...).
    """

    id: str
    question: str
    media: tuple[Media, ...]
    references: tuple[Any, ...]
    group: str
    subset: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    more_subsets: tuple[str, ...] = ()
    form: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLook:
    """Overrides for the first image or video of a sample; None: no override.

    Attributes:
        max_tiles: as in Look.
        enlarge: as in Look.
    """

    max_tiles: Positive | None = None
    enlarge: Positive | None = None

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the images and videos of a sample are shown to a model, in the order of processing.

    Attributes:
        frames: frames sampled from a video; 0 for images.
        frame_rule: ``segment_middle`` (InternVL) or ``even_step`` (VLMEvalKit), see media/video.py.
        jpeg: quality at which an image or frame is saved as JPEG and read back first (VLMEvalKit: 75); None: no
            JPEG pass. Pictures that the benchmark keeps lossless (``Media.lossless``) are left as they are.
        keep_mode: whether an image keeps its own mode (palette, alpha, CMYK) until it is cut and only its tiles become
            RGB (InternVL's MMMU script); else it becomes RGB first.
        enlarge: factor by which width and height grow before tiling, bilinear (MMMU: 2).
        max_tiles: most tiles per image or frame, thumbnail not counted.
        thumbnail: whether the whole image is added as the last tile if there are several.
        first: overrides for the first image or video of a sample.
        merge: whether one ``<image>`` marker stands for the tiles of all images of a sample; else each image or
            frame has its own.
    """

    max_tiles: Positive = 1
    thumbnail: bool = True
    enlarge: Positive = 1
    first: FirstLook = FirstLook()
    keep_mode: bool = False
    jpeg: Annotated[int, Ge(1), Le(100)] | None = None
    merge: bool = False
    frames: Count = 0
    frame_rule: FrameRule = "segment_middle"

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    def beyond(self, supported: Collection[str]) -> list[str]:
        """Return the keys with a non-default value that are not in ``supported``.

        A model source refuses a look that it cannot reproduce, and names these keys.
        """
        default = type(self)()
        return [
            item.name
            for item in fields(self)
            if item.name not in supported and getattr(self, item.name) != getattr(default, item.name)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """The user turn of a sample with several images, each with its own ``<image>`` marker (VLMEvalKit's MMMU).

    Attributes:
        prompt: as in Recipe; ``{labels}`` is one ``label`` per image.
        media_prompt: as in Recipe.
        media_separator: as in Recipe.
        label: what ``{labels}`` repeats for each image; ``{i}`` is its 1-based number.
    """

    prompt: str
    media_prompt: str = "<image>\n"
    media_separator: str = ""
    label: str = ""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    r"""How a model card runs a benchmark: every setting that can change a score, as data.

    Attributes:
        prompt: the user turn; ``{media}``, ``{question}``, ``{suffix}`` and ``{subtitles}`` are filled in.
        media_prompt: what ``{media}`` repeats for each ``<image>`` marker; ``{i}`` is its 1-based number.
        media_separator: text between the repetitions.
        suffixes: what ``{suffix}`` stands for, by ``Sample.form``: ``choice``, ``open``, ``choice_cn``, ``open_cn``.
        several: the user turn of samples with several images; None: the same as for one.
        delete: text that is deleted from the filled user turn wherever it stands (VLMEvalKit's videos: ``\nAnswer:``).
        look: how images and videos are shown.
        max_new_tokens: limit of the answer.
        min_new_tokens: the end token is forbidden before this many tokens.
    """

    prompt: str
    max_new_tokens: Positive
    media_prompt: str = "<image>\n"
    media_separator: str = ""
    suffixes: Mapping[str, str] = field(default_factory=dict)
    several: Several | None = None
    delete: str = ""
    look: Look = Look()
    min_new_tokens: Count = 1

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True)
class View:
    """One media item and how it is shown; equal views have equal pixels.

    Attributes:
        media: the image or video.
        tile_size: side of a tile in pixels (448 for InternVL2).
        jpeg: as in Look; None also for a lossless picture.
        max_tiles, thumbnail, frames, frame_rule, enlarge, keep_mode: as in Look.
    """

    media: Media
    tile_size: int
    max_tiles: int
    thumbnail: bool
    frames: int
    frame_rule: str
    enlarge: int = 1
    keep_mode: bool = False
    jpeg: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """How a view is cut, known from headers alone.

    Attributes:
        grid: columns and rows of each image or frame.
        tiles: tiles of each image or frame, the thumbnail included.
        frames: indices of the frames of a video; empty for images.
        images: 1 for an image, the number of frames for a video.
        fps: frames per second of a video; 0 for images, and if the video does not say.
        times: seconds from the start of the video to each frame; empty if ``fps`` is 0.
    """

    grid: tuple[int, int]
    tiles: int
    frames: tuple[int, ...]
    images: int
    fps: float = 0.0
    times: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """How one request is decoded.

    Attributes:
        max_new_tokens: limit of the answer, in tokens.
        min_new_tokens: the end token is forbidden before this many tokens.
        temperature: 0 decodes greedily.
    """

    max_new_tokens: int
    min_new_tokens: int = 1
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """The exact request to a model for one sample.

    Attributes:
        task: task name.
        index: 0-based index of the sample in its task.
        id: the sample's id.
        prompt: the user turn, ``<image>`` where each image or frame goes.
        views: the media of the ``<image>`` markers, in order (a video fills several).
        generation: how it is decoded.
        merged: whether one marker stands for several images or frames.
        system: system message; empty for the model's own.
    """

    task: str
    index: int
    id: str
    prompt: str
    views: tuple[View, ...]
    generation: Generation
    merged: bool = False
    system: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A model's raw answer to one request.

    Attributes:
        id: the sample's id.
        response: raw text, before anything parses it; empty on a failure.
        outcome: ok, truncated, media_error, model_error or missing.
        prompt_tokens: length of the prompt, image tokens included; None if unknown.
        output_tokens: tokens generated, the end token not counted; None if unknown.
        reason: one line, on a failure.
        extra: extra keys of a predictions line, preserved but ignored.
    """

    id: str
    response: str
    outcome: Outcome = Outcome.OK
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    reason: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one answer.

    Attributes:
        value: the official scorer's value, 0..1 (more only in an ``unbounded`` task), quirks included.
        answer: the parsed answer; None if it cannot be parsed.
        fixed: the value with the official scorer's listed defects fixed; None: the same as ``value``.
        reason: why there is no answer, if not because none can be parsed: the official scorer crashes, or draws one.
    """

    value: float
    answer: str | None
    fixed: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SampleScore:
    """One line of scores.jsonl.

    Attributes:
        id: the sample's id.
        value: contribution in 0..1 by the official scorer; None if the labels are hidden.
        answer: the parsed answer.
        outcome: what happened to the sample.
        reason: why it failed or could not be parsed.
        group: the sample's media group.
        unit: the question of which this sample is a rotation; None if the sample is the question.
        fixed: value with the official defects fixed.
        subset: the sample's subset.
        disagrees: whether ``fixed`` differs from ``value``; None without a fixed score or labels.
        keys: the sample's keys, for its task's metrics.
        more_subsets: further subsets that the sample is part of.
    """

    id: str
    value: float | None
    answer: str | None
    outcome: Outcome
    reason: str
    group: str
    unit: str | None
    fixed: float | None
    subset: str | None
    disagrees: bool | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    more_subsets: tuple[str, ...] = ()
