"""The tiling rule against worked examples, a slow rewrite of the rule and of Pillow 12's filter."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.media.tiling import _grids, choose_grid, resize, tile_count, tile_image

Pixels = npt.NDArray[np.uint8]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """An image of hard edges, where a change in filtering shows most."""
    values = np.random.default_rng(seed).integers(0, 2, (height, width, 3)) * 255
    return Image.fromarray(values.astype(np.uint8))


def slow_grid(width: int, height: int, max_tiles: int, tile_size: int) -> tuple[int, int]:
    """The rule in other words: of the nearest grids the last that is small enough, else the first."""
    grids = [(c, r) for c in range(1, max_tiles + 1) for r in range(1, max_tiles + 1) if c * r <= max_tiles]
    gaps = {grid: abs(width / height - grid[0] / grid[1]) for grid in grids}
    nearest = sorted((grid for grid in grids if gaps[grid] == min(gaps.values())), key=lambda g: g[0] * g[1])
    fitting = [g for g in nearest[1:] if width * height > 0.5 * tile_size * tile_size * g[0] * g[1]]
    return fitting[-1] if fitting else nearest[0]


def slow_pass(pixels: Pixels, size: int) -> Pixels:
    """Pillow's 8-bit bicubic filter along axis 1, in plain integers."""
    scale = pixels.shape[1] / size
    width = max(scale, 1.0)
    out = np.empty((pixels.shape[0], size, pixels.shape[2]), np.uint8)
    for x in range(size):
        centre = (x + 0.5) * scale
        low, high = max(int(centre - 2 * width + 0.5), 0), min(int(centre + 2 * width + 0.5), pixels.shape[1])
        weights = [cubic((i - centre + 0.5) / width) for i in range(low, high)]
        total = sum(weights)
        fixed = np.array([math.floor(abs(w / total) * 2**22 + 0.5) * (1 if w >= 0 else -1) for w in weights])
        summed = (pixels[:, low:high].astype(np.int64) * fixed[None, :, None]).sum(axis=1) + 2**21
        out[:, x] = np.clip(summed >> 22, 0, 255)
    return out


def cubic(x: float) -> float:
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def slow_resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Rows first, then columns: the order of Pillow up to 12."""
    if width != pixels.shape[1]:
        pixels = slow_pass(pixels, width)
    if height != pixels.shape[0]:
        pixels = slow_pass(pixels.transpose(1, 0, 2), height).transpose(1, 0, 2)
    return pixels


@pytest.mark.parametrize(
    ("width", "height", "max_tiles", "grid"),
    [
        (640, 480, 6, (3, 2)),  # 1.333 is nearer to 1.5 than to 1
        (640, 512, 6, (1, 1)),  # midpoint of 1 and 1.5: too small for 3x2
        (1000, 800, 6, (3, 2)),
        (1280, 1024, 6, (3, 2)),
        (448, 896, 1, (1, 1)),
        (896, 448, 2, (2, 1)),
        (448, 896, 2, (1, 2)),
        (5000, 3, 12, (12, 1)),
        (3, 5000, 12, (1, 12)),
        (1, 1, 40, (1, 1)),
    ],
)
def test_grids_of_known_sizes(width: int, height: int, max_tiles: int, grid: tuple[int, int]) -> None:
    assert choose_grid(width, height, max_tiles) == grid


@pytest.mark.parametrize(
    ("aspect", "max_tiles", "small", "large", "area"),
    [
        ((1, 1), 4, (1, 1), (2, 2), 401408),
        ((1, 1), 9, (2, 2), (3, 3), 903168),
        ((1, 2), 8, (1, 2), (2, 4), 802816),
        ((1, 1), 16, (3, 3), (4, 4), 1605632),
    ],
)
def test_ties_of_one_aspect_go_by_area(
    aspect: tuple[int, int], max_tiles: int, small: tuple[int, int], large: tuple[int, int], area: int
) -> None:
    side = math.isqrt(area // (aspect[0] * aspect[1]))
    at_most = (aspect[0] * side, aspect[1] * side)
    assert at_most[0] * at_most[1] <= area
    assert choose_grid(*at_most, max_tiles) == small
    above = (aspect[0] * (side + 1), aspect[1] * (side + 1))
    assert above[0] * above[1] > area
    assert choose_grid(*above, max_tiles) == large


def test_the_area_is_counted_in_tiles_of_the_given_size() -> None:
    assert choose_grid(6, 6, 9, tile_size=2) == (3, 3)  # 36 px, half of 3x3 tiles is 18
    assert choose_grid(6, 6, 9, tile_size=4) == (2, 2)  # 36 px > 32, but not > 72
    assert choose_grid(6, 6, 9, tile_size=5) == (1, 1)  # 36 px < 50
    assert choose_grid(20, 10, 8, tile_size=7) == (4, 2)  # 200 px > 196
    assert choose_grid(20, 10, 8, tile_size=8) == (2, 1)  # 200 px < 256


@pytest.mark.parametrize(("max_tiles", "count"), [(6, 14), (12, 35), (18, 58), (24, 84), (40, 158)])
def test_number_of_candidate_grids(max_tiles: int, count: int) -> None:
    grids = _grids(max_tiles)
    assert len(set(grids)) == len(grids) == count
    products = [columns * rows for columns, rows in grids]
    assert products == sorted(products)


@pytest.mark.parametrize("max_tiles", [1, 6, 12, 18, 24, 40])
def test_brute_force_against_the_slow_rule(max_tiles: int) -> None:
    sizes = [1, 3, 7, 112, 224, 256, 336, 448, 449, 480, 512, 640, 800, 896, 1000, 1024, 1280, 1344, 1700, 2200, 3000]
    for width in sizes:
        for height in sizes:
            assert choose_grid(width, height, max_tiles) == slow_grid(width, height, max_tiles, 448), (width, height)


@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.sampled_from([1, 2, 5, 6, 12, 18, 24, 40]),
    st.sampled_from([28, 448]),
)
@settings(max_examples=300, deadline=None)
def test_grid_properties(width: int, height: int, max_tiles: int, tile_size: int) -> None:
    grid = choose_grid(width, height, max_tiles, tile_size)
    assert 1 <= grid[0] * grid[1] <= max_tiles
    assert grid == slow_grid(width, height, max_tiles, tile_size)


@pytest.mark.parametrize("bad", [(0, 5, 6, 448), (5, 0, 6, 448), (5, 5, 0, 448), (5, 5, 6, 0)])
def test_sizes_below_one_are_refused(bad: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot tile"):
        choose_grid(*bad)


def test_tile_count() -> None:
    assert tile_count((1, 1), True) == 1
    assert tile_count((3, 2), True) == 7
    assert tile_count((3, 2), False) == 6


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (30, 120, (40, 14)),
        (48, 64, (28, 28)),
        (64, 48, (42, 28)),
        (7, 300, (14, 14)),
        (300, 7, (28, 14)),
        (14, 9, (14, 28)),
    ],
)
def test_resize_is_that_of_pillow_up_to_12(width: int, height: int, size: tuple[int, int]) -> None:
    image = noise(width, height)
    np.testing.assert_array_equal(np.asarray(resize(image, size)), slow_resize(np.asarray(image), *size))


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_resize_property(width: int, height: int, new_width: int, new_height: int, seed: int) -> None:
    image = noise(width, height, seed)
    expected = slow_resize(np.asarray(image), new_width, new_height)
    np.testing.assert_array_equal(np.asarray(resize(image, (new_width, new_height))), expected)


def in_mode(mode: str, width: int, height: int) -> Image.Image:
    """Noise in a mode; with alpha, a third of the pixels hides its colour."""
    image = noise(width, height).convert("RGB").convert(mode)
    if mode in ("RGBA", "LA"):
        alpha = np.random.default_rng(5).choice([0, 90, 255], (height, width)).astype(np.uint8)
        image.putalpha(Image.fromarray(alpha))
    return image


@pytest.mark.parametrize("size", [(40, 14), (28, 28), (9, 33)])
@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "CMYK"])
def test_resize_in_a_mode_with_filter(mode: str, size: tuple[int, int]) -> None:
    image = in_mode(mode, 23, 17)
    premultiplied = {"RGBA": "RGBa", "LA": "La"}.get(mode, mode)
    pixels = slow_resize(np.atleast_3d(np.asarray(image.convert(premultiplied))), *size)
    expected = Image.frombytes(premultiplied, size, pixels.tobytes()).convert(mode)
    found = resize(image, size)
    assert found.mode == mode
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("size", [(40, 14), (28, 28), (9, 33)])
@pytest.mark.parametrize("mode", ["P", "1"])
def test_resize_in_a_mode_without_filter(mode: str, size: tuple[int, int]) -> None:
    image = in_mode(mode, 23, 17)
    columns, rows = ([int((i + 0.5) * old / new) for i in range(new)] for old, new in zip((23, 17), size, strict=True))
    expected = np.asarray(image.convert("RGB"))[np.ix_(rows, columns)]
    np.testing.assert_array_equal(np.asarray(resize(image, size).convert("RGB")), expected)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA", "CMYK"])
def test_tiles_of_any_mode_are_rgb(mode: str) -> None:
    image = in_mode(mode, 9, 9)
    tiles = tile_image(image, 1, 4, True)
    assert tiles.shape == (1, 4, 4, 3)
    np.testing.assert_array_equal(tiles[0], np.asarray(resize(image, (4, 4)).convert("RGB")))
    unchanged = tile_image(
        image, 1, 9, True
    )  # the official code's resize to the same size is a copy: nothing is blended
    np.testing.assert_array_equal(unchanged[0], np.asarray(image.convert("RGB")))


def test_tiles_are_row_major_and_the_thumbnail_is_last() -> None:
    colours = [[(10, 0, 0), (20, 0, 0), (30, 0, 0)], [(40, 0, 0), (50, 0, 0), (60, 0, 0)]]
    pixels = np.repeat(np.repeat(np.array(colours, np.uint8), 8, axis=0), 8, axis=1)
    image = Image.fromarray(pixels)
    tiles = tile_image(image, 6, 8, thumbnail=True)
    assert tiles.shape == (7, 8, 8, 3)
    assert tiles.dtype == np.uint8
    for number, red in enumerate((10, 20, 30, 40, 50, 60)):
        assert (tiles[number] == (red, 0, 0)).all()
    np.testing.assert_array_equal(tiles[6], slow_resize(pixels, 8, 8))
    np.testing.assert_array_equal(tile_image(image, 6, 8, thumbnail=False), tiles[:6])


def test_one_tile_has_no_thumbnail() -> None:
    image = noise(31, 17)
    tiles = tile_image(image, 1, 16, thumbnail=True)
    np.testing.assert_array_equal(tiles, slow_resize(np.asarray(image), 16, 16)[None])


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 4, 6, 12]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_tiles_are_crops_of_the_resized_image(width: int, height: int, max_tiles: int, thumbnail: bool) -> None:
    image = noise(width, height)
    columns, rows = choose_grid(width, height, max_tiles, 14)
    tiles = tile_image(image, max_tiles, 14, thumbnail)
    assert len(tiles) == tile_count((columns, rows), thumbnail)
    whole = resize(image, (14 * columns, 14 * rows))
    for number in range(columns * rows):
        left, top = 14 * (number % columns), 14 * (number // columns)
        np.testing.assert_array_equal(tiles[number], np.asarray(whole.crop((left, top, left + 14, top + 14))))
