"""Small pictures of what a model was shown, for people to look at."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from evalkit.data.root import DataRoot
from evalkit.media.load import frame_times, images
from evalkit.records import View

THUMBNAIL = 112
QUALITY = 85


@dataclass(frozen=True, slots=True)
class Picture:
    """One image or frame, without turning by EXIF, as the model sees it.

    Attributes:
        jpeg: at most the requested side.
        thumbnail: a JPEG of at most THUMBNAIL pixels; empty for all but the first picture of a view.
        width: of the original in pixels.
        height: of the original in pixels.
        frame: index of a video's frame; None for an image.
        seconds: time of the frame; None if the video has no timestamps.
    """

    jpeg: bytes
    thumbnail: bytes
    width: int
    height: int
    frame: int | None = None
    seconds: float | None = None


def pictures(view: View, root: DataRoot, image_side: int, frame_side: int) -> list[Picture]:
    """Return a view's pictures, downscaled if they are large.

    Args:
        view: the image or video.
        root: the data root.
        image_side: longest side of an image in pixels.
        frame_side: longest side of a video's frame.

    Raises:
        MediaError: they cannot be read.
    """
    video = view.media.kind not in ("image", "row")
    times: list[tuple[int | None, float | None]] = [(None, None)]
    if video:
        times = list(frame_times(view, root))
    shown = []
    for position, (image, (frame, seconds)) in enumerate(zip(images(view, root), times, strict=True)):
        large = _jpeg(image, frame_side if video else image_side)
        small = b"" if position else _jpeg(image, THUMBNAIL)
        shown.append(Picture(large, small, image.width, image.height, frame, seconds))
    return shown


def _jpeg(image: Image.Image, side: int) -> bytes:
    """Return an image as a JPEG whose longer side is at most ``side`` pixels."""
    scale = min(1.0, side / max(image.size))
    if scale < 1:
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()
