"""From a view of an image or video to its layout (headers only) and to its uint8 tiles.

The pixels are the official ones before normalisation: ``Image.open(...).convert("RGB")`` without turning by EXIF,
then tiling as in ``dynamic_preprocess`` of InternVL; video frames as in ``evaluate_mvbench.py``. A view may ask
for more (see ``Look``): a JPEG pass as VLMEvalKit's, enlargement, the image's own mode until it is cut.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from evalkit.data.root import DataRoot
from evalkit.errors import MediaError
from evalkit.media.guard import guarded
from evalkit.media.rows import first_row, row_image, table_of
from evalkit.media.tiling import choose_grid, resize, rgb, tile_count, tile_image
from evalkit.media.video import FORMATS, VideoInfo, choose_frames, probe_video, read_frames
from evalkit.records import Layout, Media, View

# What Pillow's JPEG writer takes as it is. VLMEvalKit converts palettes and RGBA to RGB; it fails on any further mode.
_JPEG_MODES = ("1", "L", "RGB", "CMYK", "YCbCr")


def probe(view: View, root: DataRoot) -> Layout | None:
    """Return how a view is cut without decoding its pixels.

    Args:
        view: the image or video and how it is shown.
        root: the data root.

    Returns:
        The layout, or None if the media is absent (no file; no image in the table's row).

    Raises:
        MediaError: the media is present but broken.
        UsageError: its path leaves the data root.
    """
    media = view.media
    path = _path_of(media, root)
    with guarded(media, path):
        if not path.exists():
            return None
        _refuse_devices(media, path)
        if media.kind in ("video", "frames", "gif"):
            return _probe_frames(view, path)
        if media.kind == "row" and row_image(media, path) is None:
            return None
        with _open(media, path) as image:
            grid = _grid(image, view)
        return Layout(grid, tile_count(grid, view.thumbnail), (), 1)


def load(view: View, root: DataRoot) -> list[npt.NDArray[np.uint8]]:
    """Return a view's pixels.

    Args:
        view: the image or video and how it is shown.
        root: the data root.

    Returns:
        One array (tiles, tile_size, tile_size, 3) of uint8 per image: one for an image, one per frame of a video.

    Raises:
        MediaError: the pixels cannot be read, for any cause; its reason is one line.
    """
    with guarded(view.media):
        return [_tiles(image, view) for image in _stored(view, root)]


def images(view: View, root: DataRoot) -> Iterator[Image.Image]:
    """Yield a view's images as the benchmark gives them, in RGB: one image, or the frames of a video.

    Raises:
        MediaError: the pixels cannot be read, for any cause; its reason is one line.
    """
    with guarded(view.media):
        for image in _stored(view, root):
            yield rgb(image)


def _stored(view: View, root: DataRoot) -> Iterator[Image.Image]:
    """Yield a view's images, decoded, in the mode in which they are stored."""
    media = view.media
    with guarded(media):
        path = _path_of(media, root)
    with guarded(media, path):
        _refuse_absent(media, path)
        if media.kind in ("video", "frames", "gif"):
            frames = choose_frames(probe_video(path, media), media, view.frames, view.frame_rule)
            yield from read_frames(path, media, frames)
            return
        with _open(media, path) as image:
            image.load()
            yield image


def canonical(view: View, root: DataRoot) -> View:
    """Return the representative of all views with the same pixels: MMBench's rotations repeat an image in many rows.

    Args:
        view: any view.
        root: the data root.

    Returns:
        The same view of the first row with this very image; a view of another kind, or without an image, unchanged.
    """
    if view.media.kind != "row":
        return view
    try:
        with guarded(view.media):
            first = first_row(view.media, _path_of(view.media, root))
    except MediaError:
        return view
    return replace(view, media=replace(view.media, path=f"{table_of(view.media)}#{first}"))


def _tiles(image: Image.Image, view: View) -> npt.NDArray[np.uint8]:
    return tile_image(_shown(image, view), view.max_tiles, view.tile_size, view.thumbnail)


def _shown(image: Image.Image, view: View) -> Image.Image:
    """Return an image after what the view does to it before tiling, in VLMEvalKit's and InternVL's order."""
    if view.jpeg is not None:
        image = _through_jpeg(image, view.jpeg)
    if not view.keep_mode:
        image = rgb(image)
    size = (image.width * view.enlarge, image.height * view.enlarge)
    return resize(image, size, Image.Resampling.BILINEAR)


def _through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Return an image saved as JPEG and read back, with Pillow's default chroma subsampling (4:2:0)."""
    file = io.BytesIO()
    (image if image.mode in _JPEG_MODES else image.convert("RGB")).save(file, "JPEG", quality=quality)
    saved = Image.open(file, formats=("JPEG",))
    saved.load()
    return saved


def _grid(image: Image.Image, view: View) -> tuple[int, int]:
    """Return the columns and rows into which a view cuts an image."""
    return choose_grid(image.width * view.enlarge, image.height * view.enlarge, view.max_tiles, view.tile_size)


def _probe_frames(view: View, path: Path) -> Layout:
    """Return the layout of a video; a frame is decoded, for its size, only if frames are tiled."""
    info = probe_video(path, view.media)
    frames = choose_frames(info, view.media, view.frames, view.frame_rule)
    grid = (1, 1)
    if view.max_tiles > 1:
        grid = _grid(next(read_frames(path, view.media, frames[:1])), view)
    tiles = tile_count(grid, view.thumbnail)
    return Layout(grid, tiles, frames, len(frames), info.fps, _times(info, frames))


def _times(info: VideoInfo, frames: Sequence[int]) -> tuple[float, ...]:
    """Return the second of each frame; none without a frame rate."""
    return tuple((index - info.first) / info.fps for index in frames) if info.fps > 0 else ()


def frame_times(view: View, root: DataRoot) -> list[tuple[int, float | None]]:
    """Return index and second of each frame of a video that a view shows; the second is None without a frame rate.

    Raises:
        MediaError: the video cannot be read.
    """
    media = view.media
    with guarded(media):
        path = _path_of(media, root)
        _refuse_absent(media, path)
    info = probe_video(path, media)
    frames = choose_frames(info, media, view.frames, view.frame_rule)
    return list(zip_longest(frames, _times(info, frames)))


def _path_of(media: Media, root: DataRoot) -> Path:
    """Return the file or folder that contains the media."""
    return root.resolve(table_of(media) if media.kind == "row" else media.path)


def _refuse_absent(media: Media, path: Path) -> None:
    if not path.exists():
        raise MediaError(media.path, "not in the data root")
    _refuse_devices(media, path)


def _refuse_devices(media: Media, path: Path) -> None:
    """Refuse anything but a file: opening a pipe or a device may block forever."""
    if media.kind != "frames" and not path.is_file():
        raise MediaError(media.path, "is a folder" if path.is_dir() else "not a regular file")


@contextmanager
def _open(media: Media, path: Path) -> Iterator[Image.Image]:
    """Open an image file or a row's image; the pixels are not decoded yet."""
    if media.kind != "row":
        with Image.open(path, formats=FORMATS) as image:
            yield image
        return
    with Image.open(io.BytesIO(_needed(media, path)), formats=FORMATS) as image:
        yield image


def _needed(media: Media, path: Path) -> bytes:
    """Return the image file in a row of a table."""
    stored = row_image(media, path)
    if stored is None:
        raise MediaError(media.path, "the table has no image for this row")
    return stored


def load_images(view: View, root: DataRoot) -> list[npt.NDArray[np.uint8]]:
    """Return a view's images or frames as they are cut into tiles, uint8 RGB of shape (H, W, 3) each.

    Raises:
        MediaError: as ``load``.
    """
    with guarded(view.media):
        return [np.asarray(rgb(_shown(image, view))) for image in _stored(view, root)]


def load_bytes(view: View, root: DataRoot) -> list[npt.NDArray[np.uint8]]:
    """Return an image file as it is stored, or a PNG of each frame of a video, as uint8 of shape (bytes,).

    Raises:
        MediaError: as ``load``; only the header of an image is checked.
    """
    media = view.media
    with guarded(media):
        path = _path_of(media, root)
        if media.kind in ("image", "row"):
            _refuse_absent(media, path)
            with _open(media, path):
                stored = path.read_bytes() if media.kind == "image" else _needed(media, path)
            return [np.frombuffer(stored, np.uint8)]
        encoded = []
        for image in images(view, root):
            file = io.BytesIO()
            image.save(file, "png")
            encoded.append(np.frombuffer(file.getvalue(), np.uint8))
        return encoded
