"""Reader of Parquet files whose images are cells: {bytes, path}, as ``datasets`` writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evalkit.data.readers import Record
from evalkit.errors import IncompleteError, UsageError, first_line


def read_parquet(path: Path, shown: str, columns: Sequence[str], images: Sequence[str] = ()) -> Iterator[Record]:
    """Yield the rows of a Parquet file; no other column is read, and no image.

    Args:
        path: the file.
        shown: its official path.
        columns: columns to read.
        images: columns of images; a record has True under the name of each whose cell holds an image, False else.

    Raises:
        IncompleteError: the file is missing.
        UsageError: it is no Parquet file, or its columns are others.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise IncompleteError(f"data file {shown} is missing ({path})")
    try:
        with pq.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow, columns, images)
            # A cell without an image is null as a whole, which its path tells without reading the bytes, or it has
            # neither path nor bytes.
            table = file.read(columns=[*columns, *(f"{name}.path" for name in images)])
            present = {name: _present(file, name, table[name]) for name in images}
        cells: dict[str, list[Any]] = {name: table[name].to_pylist() for name in columns}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a readable Parquet file: {first_line(error)}") from error
    cells |= present
    for line in range(table.num_rows):
        yield Record({name: values[line] for name, values in cells.items()}, f"{path}: row {line}", line)


def _present(file: Any, name: str, cells: Any) -> list[bool]:
    """Return whether each cell of a column holds an image."""
    import pyarrow.compute as pc

    valid: list[bool] = cells.is_valid().to_pylist()
    named = pc.struct_field(cells, "path").is_valid().to_pylist()
    if valid == named:
        return valid
    stored = pc.struct_field(file.read(columns=[f"{name}.bytes"])[name], "bytes").is_valid().to_pylist()
    return [one and other for one, other in zip(valid, stored, strict=True)]


def _check_schema(path: Path, schema: Any, columns: Sequence[str], images: Sequence[str]) -> None:
    for name in (*columns, *images):
        if schema.names.count(name) != 1:
            raise UsageError(f"{path}: needs one column {name!r}; the file has {', '.join(schema.names)}")
    for name in images:
        kind = schema.field(name).type
        parts = {kind.field(index).name for index in range(kind.num_fields)}
        if not {"bytes", "path"} <= parts:
            raise UsageError(f"{path}: column {name!r} must hold images (bytes and path), not {kind}")
