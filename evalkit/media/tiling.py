"""Cuts an image into the model's square tiles, pixel for pixel as the official preprocessing does.

Source of the rule: ``dynamic_preprocess`` of InternVL.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

TILE_SIZE = 448

_PREMULTIPLIED = {"RGBA": "RGBa", "LA": "La"}


def choose_grid(width: int, height: int, max_tiles: int, tile_size: int = TILE_SIZE) -> tuple[int, int]:
    """Return the grid whose aspect ratio is closest to the image's.

    On an exact tie a later (larger) grid wins only if the image has more than half the grid's pixels.

    Args:
        width: image width in pixels.
        height: image height in pixels.
        max_tiles: maximum number of tiles, excluding the thumbnail.
        tile_size: side of a tile in pixels.

    Returns:
        Columns and rows, ``1 <= columns * rows <= max_tiles``.

    Raises:
        ValueError: a size or ``max_tiles`` is below 1.
    """
    if min(width, height, max_tiles, tile_size) < 1:
        raise ValueError(f"cannot tile {width}x{height} pixels into at most {max_tiles} tiles of {tile_size}")
    aspect = width / height
    area = width * height
    best, best_gap = (1, 1), float("inf")
    for columns, rows in _grids(max_tiles):
        # Ties and near-ties are decided by these float64 divisions; exact fractions would differ.
        gap = abs(aspect - columns / rows)
        if gap < best_gap or (gap == best_gap and area > 0.5 * tile_size * tile_size * columns * rows):
            best, best_gap = (columns, rows), gap
    return best


def tile_count(grid: tuple[int, int], thumbnail: bool) -> int:
    """Return the number of tiles of a grid of (columns, rows), the thumbnail included if there is one."""
    tiles = grid[0] * grid[1]
    return tiles + 1 if thumbnail and tiles > 1 else tiles


def resize(
    image: Image.Image, size: tuple[int, int], resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Resize as Pillow up to 12 does, under any version of Pillow.

    Pillow 13 may filter columns before rows, which rounds differently; two calls, each along one axis, keep
    the old order: rows first.

    Args:
        image: an image of any mode. As in Pillow, palette and black-and-white images are resized without a filter,
            and colours with alpha are multiplied by it first (what is fully transparent turns black).
        size: width and height in pixels.
        resample: the filter.

    Returns:
        The resized image, in the same mode.
    """
    width, height = size
    if image.size == (width, height):
        return image
    if image.mode in _PREMULTIPLIED:
        return resize(image.convert(_PREMULTIPLIED[image.mode]), size, resample).convert(image.mode)
    return image.resize((width, image.height), resample).resize((width, height), resample)


def rgb(image: Image.Image) -> Image.Image:
    """Return an image in RGB; alpha is dropped, not blended."""
    return image if image.mode == "RGB" else image.convert("RGB")


def tile_image(image: Image.Image, max_tiles: int, tile_size: int, thumbnail: bool) -> npt.NDArray[np.uint8]:
    """Cut an image into tiles, row by row, the thumbnail last.

    Args:
        image: the image; one that is not RGB is resized in its own mode, and its tiles become RGB.
        max_tiles: maximum number of tiles, excluding the thumbnail.
        tile_size: side of a tile in pixels.
        thumbnail: whether the whole image is added as a last tile if there are several.

    Returns:
        uint8 array of shape (tiles, tile_size, tile_size, 3).

    Raises:
        ValueError: the image has no pixels, or a number is below 1.
    """
    columns, rows = grid = choose_grid(image.width, image.height, max_tiles, tile_size)
    pixels = np.asarray(rgb(resize(image, (columns * tile_size, rows * tile_size))))
    tiles = np.empty((tile_count(grid, thumbnail), tile_size, tile_size, 3), np.uint8)
    split = pixels.reshape(rows, tile_size, columns, tile_size, 3).transpose(0, 2, 1, 3, 4)
    tiles[: columns * rows].reshape(rows, columns, tile_size, tile_size, 3)[:] = split
    if len(tiles) > columns * rows:
        tiles[-1] = np.asarray(rgb(resize(image, (tile_size, tile_size))))
    return tiles


@lru_cache(maxsize=64)
def _grids(max_tiles: int) -> tuple[tuple[int, int], ...]:
    """Return every grid of at most ``max_tiles`` tiles, fewest tiles first."""
    grids = [(columns, rows) for columns in range(1, max_tiles + 1) for rows in range(1, max_tiles // columns + 1)]
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))
