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

from evalkit.demo import JUDGES

_JPEG_QUALITY = 92
# A judge that nobody asked: its name says so wherever a score that rests on it is shown.
JUDGE = "made-up-demo-judge"


def write_json(path: Path, content: object) -> None:
    """Write one JSON document."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the named columns of the rows; cells that a row lacks stay empty."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", extrasaction="ignore", delimiter="\t", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())


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


def png(image: Image.Image, colours: int = 64) -> bytes:
    """Return an image as a small PNG file: drawings need few colours.

    Args:
        image: an RGB image.
        colours: of the palette; 0: no palette.
    """
    buffer = io.BytesIO()
    kept = image.quantize(colours, dither=Image.Dither.NONE) if colours else image
    kept.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def png_base64(image: Image.Image, colours: int = 64) -> str:
    """Return an image as the text that the TSV files hold (arguments as in ``png``)."""
    return base64.b64encode(png(image, colours)).decode("ascii")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


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


def write_text(path: Path, text: str) -> None:
    """Write a text file and its folder."""
    write_bytes(path, text.encode("utf-8"))


def write_judge(data: Path, task: str, replies: Mapping[str, Sequence[str]]) -> None:
    """Write made-up replies of a judge, as ``evalkit judge RUN --judge replay:FOLDER`` reads them.

    Args:
        data: the data folder; the judge's folder is beside it.
        task: whose answers are judged.
        replies: what the judge says about the answer to a sample, whatever that is, by the sample's id.
    """
    lines = ({"id": key, "replies": list(said), "model": JUDGE} for key, said in replies.items())
    write_jsonl(data.parent / JUDGES / task / "predictions.jsonl", lines)
