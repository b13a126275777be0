"""Writers of annotation files, images and clips: the same bytes for the same content."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_JPEG_QUALITY = 92


def write_json(path: Path, content: object) -> None:
    """Write one JSON document."""
    _write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line."""
    _write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the named columns of the rows; cells that a row lacks stay empty."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", extrasaction="ignore", delimiter="\t", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    _write_text(path, text.getvalue())


def save_image(path: Path, image: Image.Image) -> None:
    """Write a ``.png`` or ``.jpg``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        image.save(path, "PNG")
    else:
        path.write_bytes(jpeg(image))


def jpeg(image: Image.Image) -> bytes:
    """Return an image as a JPEG file; colours are not subsampled, as drawings have sharp edges."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def jpeg_base64(image: Image.Image) -> str:
    """Return an image as the text that the TSV files hold."""
    return base64.b64encode(jpeg(image)).decode("ascii")


def save_clip(path: Path, frames: Sequence[Image.Image], fps: int) -> None:
    """Write frames as h264 (``.mp4``), as an animated ``.gif`` or, without a suffix, as a folder of JPEGs.

    Args:
        path: file or folder.
        frames: RGB images of one even size.
        fps: frames per second; a folder has none of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mp4":
        _save_mp4(path, frames, fps)
    elif path.suffix == ".gif":
        frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0)
    else:
        for number, frame in enumerate(frames, 1):
            save_image(path / f"{number:05d}.jpg", frame)


def _save_mp4(path: Path, frames: Sequence[Image.Image], fps: int) -> None:
    import av

    # One thread: the encoder's output depends on how many it has. No B-frames: then every frame is shown, none is
    # hidden by an edit list. No macroblock tree: with it about one clip in 300 comes out with other bytes.
    options = {"crf": "16", "preset": "veryfast", "bf": "0", "threads": "1", "x264-params": "mbtree=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        container.mux(stream.encode(None))


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
