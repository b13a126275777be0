"""Which frames of a video are shown, and their pixels.

Sources of the rules: ``evaluate_mvbench.py`` of InternVL for ``segment_middle``, VLMEvalKit
for ``even_step``. Both read video files with decord. Frames are counted here as decord counts them, but with
PyAV, so that a dry run needs no decord; the pixels come from decord if it works and else from PyAV, whose
frames are the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from evalkit.errors import MediaError
from evalkit.media.guard import guarded
from evalkit.records import Media

# Accepted image formats: those that benchmarks use. Pillow selects others, by content and not by file name, that run
# programs (EPS) or little-tested parsers.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")

FOLDER_FPS = 3.0
GIF_FPS = 25.0
_UNBOUNDED_S = 100000.0


@dataclass(frozen=True)
class VideoInfo:
    """Properties that the choice of frames depends on.

    Attributes:
        total: number of frames.
        fps: average frames per second; 0 if the file does not record it.
        first: index of the first frame: 1 for a folder of frames (``00001.jpg``), else 0.
    """

    total: int
    fps: float
    first: int


def segment_middle(
    max_index: int, fps: float, num: int, start: float | None = None, end: float | None = None, first: int = 0
) -> tuple[int, ...]:
    """Return the middle frame of each of ``num`` equal segments (InternVL's rule).

    Halves are rounded to even, as in ``np.round``. A part outside the video gives indices outside it, as in the
    official rule; callers check.

    Args:
        max_index: last index: frames - 1, or the number of files for a folder of frames.
        fps: frames per second, above 0.
        num: number of segments.
        start: first second of the part in question; None: the beginning.
        end: last second of that part; None: the end.
        first: lowest index.

    Raises:
        ValueError: ``num`` is below 1 or ``fps`` is not a positive number.
    """
    if num < 1:
        raise ValueError(f"the number of frames to sample must be positive, not {num}")
    if not (fps > 0 and math.isfinite(fps)):
        raise ValueError("the video has no usable frame rate")
    start_index = max(first, round((-_UNBOUNDED_S if start is None else start) * fps))
    end_index = min(round((_UNBOUNDED_S if end is None else end) * fps), max_index)
    segment = float(end_index - start_index) / num
    return tuple(int(start_index + segment / 2 + round(segment * i)) for i in range(num))


def even_step(total: int, num: int) -> tuple[int, ...]:
    """Return ``num`` frames at equal steps, excluding both ends (VLMEvalKit's rule).

    Args:
        total: number of frames of the video.
        num: number of frames to take.

    Raises:
        ValueError: ``num`` is below 1.
    """
    if num < 1:
        raise ValueError(f"the number of frames to sample must be positive, not {num}")
    step = total / (num + 1)
    return tuple(int(i * step) for i in range(1, num + 1))


def choose_frames(info: VideoInfo, media: Media, num: int, rule: str) -> tuple[int, ...]:
    """Return the indices of the frames to show.

    Args:
        info: the video's frames.
        media: the video, with the part in question.
        num: frames to sample.
        rule: ``segment_middle`` or ``even_step``.

    Returns:
        ``num`` indices; fewer for a short gif, whose frames the official loader takes once each.

    Raises:
        MediaError: the part in question is outside the video, or the rule cannot be applied to it.
    """
    with guarded(media):
        if rule == "segment_middle":
            last = info.first + info.total - 1
            indices = segment_middle(last, info.fps, num, media.start, media.end, info.first)
        elif rule != "even_step":
            raise ValueError(f"unknown frame rule {rule!r}")
        elif media.start is not None or media.end is not None:
            raise ValueError("the frame rule even_step takes no part of a video")
        else:
            indices = tuple(info.first + index for index in even_step(info.total, num))
    outside = [index for index in indices if not info.first <= index < info.first + info.total]
    if outside:
        part = f" in the part from {media.start} s to {media.end} s" if (media.start, media.end) != (None, None) else ""
        raise MediaError(media.path, f"frame {outside[0]} is needed{part}, but there are {info.total} frames")
    return tuple(sorted(set(indices))) if media.kind == "gif" else indices


def probe_video(path: Path, media: Media) -> VideoInfo:
    """Count a video's frames without decoding any.

    Args:
        path: a video file, a folder of frames or a gif.
        media: what it is.

    Raises:
        MediaError: it cannot be read, is truncated or has no frames.
    """
    with guarded(media, path):
        if media.kind == "frames":
            # The official code counts every file in the folder.
            info = VideoInfo(len(os.listdir(path)), FOLDER_FPS, 1)
        elif media.kind == "gif":
            with Image.open(path, formats=("GIF",)) as image:
                info = VideoInfo(getattr(image, "n_frames", 1), GIF_FPS, 0)
        else:
            info = _probe_file(path)
    if info.total < 1:
        raise MediaError(media.path, "the video has no frames")
    return info


def read_frames(path: Path, media: Media, indices: Sequence[int]) -> Iterator[Image.Image]:
    """Yield the frames at the given indices, in that order.

    Args:
        path: the video.
        media: what it is.
        indices: as ``choose_frames`` returned them; a frame may be requested several times.

    Yields:
        RGB images, one per index.

    Raises:
        MediaError: a frame cannot be read.
    """
    with guarded(media, path):
        if media.kind == "frames":
            yield from _folder_frames(path, indices)
        elif media.kind == "gif":
            yield from _gif_frames(path, indices)
        else:
            yield from _file_frames(path, indices)


def _probe_file(path: Path) -> VideoInfo:
    """Count a video file's frames as decord does: the packets of its best video stream."""
    import av

    with av.open(str(path)) as container:
        stream = _video_stream(container, path)
        rate = stream.average_rate
        # The last packet of a stream is empty, added by PyAV to flush the decoder.
        total = sum(1 for packet in container.demux(stream) if packet.dts is not None or packet.size)
    return VideoInfo(total, float(rate) if rate else 0.0, 0)


def _video_stream(container: Any, path: Path) -> Any:
    """Return the video stream that a player, and decord, would choose.

    Raises:
        ValueError: there is none.
        EOFError: the file is truncated.
    """
    stream = container.streams.best("video")
    if stream is None:
        raise ValueError("the file has no video stream")
    # A truncated mp4 whose index comes first still opens; PyAV would treat the rest as the whole, while decord refuses
    # it. An index entry beyond the end of the file reveals it.
    if "mp4" in container.format.name:
        size = path.stat().st_size
        if any(entry.pos + entry.size > size for entry in getattr(stream, "index_entries", ())):
            raise EOFError("the file is cut short")
    return stream


def _folder_frames(path: Path, indices: Sequence[int]) -> Iterator[Image.Image]:
    for index in indices:
        name = f"{index:05d}.jpg"
        if not (path / name).is_file():
            raise FileNotFoundError(f"frame {name} is not in the folder")
        with Image.open(path / name, formats=FORMATS) as image:
            yield image.convert("RGB")


def _gif_frames(path: Path, indices: Sequence[int]) -> Iterator[Image.Image]:
    with Image.open(path, formats=("GIF",)) as image:
        for index in indices:
            image.seek(index)
            yield image.convert("RGB")


def _file_frames(path: Path, indices: Sequence[int]) -> Iterator[Image.Image]:
    """Yield a video file's frames from decord, and those that decord cannot decode from PyAV."""
    done = 0
    try:
        for image in _decord_frames(path, indices):
            yield image
            done += 1
        return
    except Exception:  # not installed, an unknown codec, a damaged stream: PyAV decides
        rest = indices[done:]
    yield from _pyav_frames(path, rest)


def _decord_frames(path: Path, indices: Sequence[int]) -> Iterator[Image.Image]:
    import decord

    # ffmpeg's messages about a bad file would break the progress line; the MediaError has what matters.
    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    for index in indices:
        yield Image.fromarray(reader[index].asnumpy())


def _pyav_frames(path: Path, indices: Sequence[int]) -> Iterator[Image.Image]:
    """Yield frames by their index in display order, as decord numbers them."""
    import av

    wanted, frames = set(indices), {}
    with av.open(str(path)) as container:
        frame = None
        for position, frame in enumerate(container.decode(_video_stream(container, path))):
            if position in wanted:
                frames[position] = _upright(frame)
            if position >= max(wanted):
                break
        if frame is None:
            raise ValueError("no frame of the video can be decoded")
        # An edit list may hide frames that are counted. What decord returns for those depends on what it read
        # before; usually it is the last one shown.
        end = _upright(frame)
    for index in indices:
        yield frames.get(index, end)


def _upright(frame: Any) -> Image.Image:
    """Return a decoded frame as an RGB image, rotated as its file specifies (decord does so by itself)."""
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    turns = {
        90: Image.Transpose.ROTATE_90,
        180: Image.Transpose.ROTATE_180,
        270: Image.Transpose.ROTATE_270,
    }
    turn = turns.get(getattr(frame, "rotation", 0) % 360)
    return image if turn is None else image.transpose(turn)
