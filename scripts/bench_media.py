"""Images per second from file to tiles: evalkit's decoders against the official preprocessing in a DataLoader.

    python scripts/bench_media.py --images photos/*.jpg --max-tiles 6
    python scripts/bench_media.py --images pages/*.png --max-tiles 12 --workers 4

The official code decodes, resizes, cuts and converts every tile to normalised float32 in the worker, again for every
question. evalkit cuts the same pixels once and sends them as bytes, which are normalised on the model's device. Both
have the same number of worker processes; each image is read in full, in the same order. The pixels are compared too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from evalkit.data.root import DataRoot
from evalkit.media.decoder import Decoders
from evalkit.media.tiling import choose_grid, resize
from evalkit.models.internvl2.network import MEAN, STD, normalise
from evalkit.records import Media, View

TILE = 448
ROUNDS = 3


def official_tiles(image: Image.Image, max_tiles: int) -> torch.Tensor:
    """Return normalised float tiles, (tiles, 3, S, S), step by step as protocol sheet 1.2 and 1.3 describe them."""
    columns, rows = choose_grid(image.width, image.height, max_tiles, TILE)
    whole = resize(image, (TILE * columns, TILE * rows))
    boxes = [(TILE * c, TILE * r, TILE * (c + 1), TILE * (r + 1)) for r in range(rows) for c in range(columns)]
    tiles = [whole.crop(box) for box in boxes]
    if len(tiles) > 1:
        tiles.append(resize(image, (TILE, TILE)))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    normalised = []
    for tile in tiles:
        pixels = torch.from_numpy(np.array(resize(tile.convert("RGB"), (TILE, TILE)))).permute(2, 0, 1).contiguous()
        normalised.append((pixels.to(torch.float32) / 255 - mean) / std)
    return torch.stack(normalised)


class _Images(Dataset[torch.Tensor]):
    def __init__(self, files: Sequence[Path], max_tiles: int) -> None:
        self.files, self.max_tiles = files, max_tiles

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as image:
            return official_tiles(image.convert("RGB"), self.max_tiles)


def official(files: Sequence[Path], max_tiles: int, workers: int) -> Iterator[torch.Tensor]:
    """Yield every image's tiles from a DataLoader."""
    yield from DataLoader(_Images(files, max_tiles), batch_size=None, num_workers=workers)


def views(files: Sequence[Path], max_tiles: int) -> list[View]:
    """Return the images as evalkit's views."""
    return [View(Media(file.name), TILE, max_tiles, True, 0, "segment_middle") for file in files]


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, nargs="+", type=Path, help="image files of one folder")
    parser.add_argument("--max-tiles", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--count", type=int, default=300, help="images to read, cycling through the files")
    parser.add_argument(
        "--questions", type=int, default=1, help="questions per image, each decoded by the official code"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = [args.images[index % len(args.images)] for index in range(args.count)]
    shown = views(files, args.max_tiles)
    folder = args.images[0].parent
    with Decoders(DataRoot(folder)) as decoders, ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(decoders.load, shown[: 2 * args.workers]))  # starts the processes

        def ours() -> None:
            for _ in pool.map(decoders.load, shown):
                pass

        def theirs() -> None:
            for _ in official([file for file in files for _ in range(args.questions)], args.max_tiles, args.workers):
                pass

        times = [(seconds(theirs), seconds(ours)) for _ in range(ROUNDS)]
        same = all(
            torch.equal(normalise(torch.from_numpy(tiles), torch.float32), wanted)
            for view, wanted in zip(shown[: len(args.images)], official(args.images, args.max_tiles, 0), strict=False)
            for tiles in decoders.load(view)
        )
    one, other = (args.count / statistics.median(column) for column in zip(*times, strict=True))
    start = seconds(lambda: next(official(files[:1], args.max_tiles, args.workers)))
    print(
        f"{len(args.images)} files, {args.count} images, at most {args.max_tiles} tiles, "
        f"{args.questions} questions per image, {args.workers} workers"
    )
    print(f"official  {one:6.1f} images/s (including {start:.2f} s per round to start a DataLoader)")
    print(f"evalkit   {other:6.1f} images/s, {other / one:.2f}x; pixels {'equal' if same else 'DIFFER'}")


if __name__ == "__main__":
    main()
