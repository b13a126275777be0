"""Readers of annotation files; every error is one line that names the file and the line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.data.root import DataRoot
from evalkit.errors import IncompleteError, UsageError
from evalkit.metrics.read_back import MISSING
from evalkit.records import Media, Sample

if TYPE_CHECKING:
    import pandas as pd


# A longer cell of a TSV's image column is an image, a shorter one the index of the row that has it.
REFERENCE_LENGTH = 64


class Record:
    """One JSON object and its location, with typed access to its keys.

    Args:
        data: the object.
        where: ``file:line`` for error messages.
        line: 0-based index of the record in its file.
    """

    def __init__(self, data: dict[str, Any], where: str, line: int) -> None:
        self.data = data
        self.where = where
        self.line = line

    def text(self, key: str) -> str:
        """Return a string value.

        Raises:
            UsageError: the key is missing or not a string.
        """
        value = self._need(key)
        if not isinstance(value, str):
            raise UsageError(f"{self.where}: {key!r} must be a string, not {_kind(value)}")
        return self._stored(value, key)

    def identity(self, key: str) -> str:
        """Return an id (a string or an integer in the file) as a string."""
        value = self._need(key)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise UsageError(f"{self.where}: {key!r} must be a string or an integer, not {_kind(value)}")
        return self._stored(str(value), key)

    def number(self, key: str) -> float:
        """Return a finite number."""
        return self._number(self._need(key), key)

    def optional_number(self, key: str) -> float | None:
        """Return a finite number, or None if the key is missing or null."""
        return None if self.data.get(key) is None else self.number(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a string or a list of strings as a tuple."""
        value = self._need(key)
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
            raise UsageError(f"{self.where}: {key!r} must be a string or a list of strings")
        return tuple(self._stored(item, key) for item in values)

    def record(self, key: str) -> Record:
        """Return an object."""
        return as_record(self._need(key), f"{self.where}: {key!r}", self.line)

    def records(self, key: str) -> list[Record]:
        """Return a list of objects."""
        return _as_records(self.data.get(key), self.where, f"{key!r}")

    def box(self, key: str) -> tuple[float, float, float, float]:
        """Return the corners (x1, y1, x2, y2) of a box with an area; no answer could match one without."""
        value = self._need(key)
        if not isinstance(value, list) or len(value) != 4:
            raise UsageError(f"{self.where}: {key!r} must be a list of four numbers")
        x1, y1, x2, y2 = (self._number(item, key) for item in value)
        if not (x1 < x2 and y1 < y2):
            raise UsageError(f"{self.where}: {key!r} must be [x1, y1, x2, y2] with x1 < x2 and y1 < y2, got {value}")
        return x1, y1, x2, y2

    def length(self, key: str) -> float:
        """Return a number above 0."""
        value = self.number(key)
        if value <= 0:
            raise UsageError(f"{self.where}: {key!r} must be above 0, got {value:g}")
        return value

    def _number(self, value: Any, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e15 or value != value:
            raise UsageError(f"{self.where}: {key!r} must be a finite number, not {_kind(value)}")
        return float(value)

    def _stored(self, text: str, key: str) -> str:
        if not storable(text):
            raise UsageError(f"{self.where}: {key!r} contains an unpaired surrogate (not valid text)")
        return text

    def _need(self, key: str) -> Any:
        if key not in self.data:
            raise UsageError(
                f"{self.where}: no key {key!r}; the record has {', '.join(map(repr, self.data)) or 'none'}"
            )
        return self.data[key]


def storable(text: str) -> bool:
    """Return whether a text can be written as UTF-8 (JSON may contain unpaired surrogates)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a number",
    }
    return names.get(type(value), type(value).__name__)


def open_text(path: Path, shown: str) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        IncompleteError: the file is missing.
        UsageError: it cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise IncompleteError(f"data file {shown} is missing ({path})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a UTF-8 text file ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def parse_json(text: str, where: str) -> Any:
    """Parse one JSON document.

    Raises:
        UsageError: it is not valid JSON; the message starts with ``where``.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        detail = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise UsageError(f"{where}: not valid JSON ({detail})") from error


def read_jsonl(path: Path, shown: str) -> Iterator[Record]:
    """Yield the objects of a JSON Lines file; blank lines are skipped.

    Raises:
        IncompleteError: the file is missing.
        UsageError: a line is not a JSON object.
    """
    for line, text in enumerate(open_text(path, shown).split("\n")):
        if text.strip():
            yield as_record(parse_json(text, f"{path}:{line + 1}"), f"{path}:{line + 1}", line)


def as_record(value: Any, where: str, line: int) -> Record:
    """Return a JSON object as a Record.

    Raises:
        UsageError: the value is something else.
    """
    if not isinstance(value, dict):
        raise UsageError(f"{where}: must be a JSON object, not {_kind(value)}")
    return Record(value, where, line)


def read_json(path: Path, shown: str) -> Any:
    """Return the content of a JSON file (errors as in ``read_jsonl``)."""
    return parse_json(open_text(path, shown), str(path))


def read_records(path: Path, shown: str, key: str | None = None) -> list[Record]:
    """Return the objects of a JSON list, or of the list under ``key`` of a JSON object."""
    if key is not None:
        return read_record(path, shown).records(key)
    return _as_records(read_json(path, shown), str(path), "the file")


def read_record(path: Path, shown: str) -> Record:
    """Return the object that is the content of a JSON file."""
    return as_record(read_json(path, shown), str(path), 0)


def _as_records(value: Any, where: str, name: str) -> list[Record]:
    if not isinstance(value, list):
        raise UsageError(f"{where}: {name} must be a list of records")
    return [as_record(item, f"{where}: record {line}", line) for line, item in enumerate(value)]


def read_tsv(path: Path, shown: str) -> Iterator[Record]:
    """Yield the rows of a tab-separated table without its ``image`` column.

    Missing values follow pandas, as the official MMBench script does: a cell that is empty or ``NA``, ``nan``,
    ``None`` ... is absent from the row.

    Raises:
        IncompleteError: the file is missing.
        UsageError: the table is malformed.
    """
    chunks = (chunk.drop(columns="image", errors="ignore") for chunk in tsv_chunks(path, shown))
    for line, cells in enumerate(row for chunk in chunks for row in chunk.to_dict("records")):
        yield Record(present_cells(cells), f"{path}: row {line + 1}", line)


def present_cells(cells: Mapping[Any, Any]) -> dict[str, str]:
    """Return a row's cells without those that pandas reads as missing; NaN is a cell that the row does not have."""
    return {str(key): text for key, text in cells.items() if isinstance(text, str) and text not in MISSING}


def tsv_chunks(path: Path, shown: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of a tab-separated table, some at a time, since images make it large.

    Cells are texts as they stand in the file, or NaN where a row is too short.

    Raises:
        IncompleteError: the file is missing.
        UsageError: the table is malformed, or a row has more cells than the header. Without the image column pandas
            would drop them silently.
    """
    import warnings

    import pandas as pd

    if not path.is_file():
        raise IncompleteError(f"data file {shown} is missing ({path})")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            reader = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, index_col=False, chunksize=500)
            with reader as table:
                yield from table
        except pd.errors.ParserWarning as error:
            raise UsageError(f"{path}: not a readable table: line 2 has more cells than the header") from error
        except (ValueError, OSError) as error:  # pandas' ParserError and EmptyDataError are ValueErrors
            raise UsageError(f"{path}: not a readable table: {str(error).splitlines()[0]}") from error


def tsv_columns(path: Path, shown: str) -> list[str]:
    """Return the column names of a tab-separated table, in order (errors as in ``read_tsv``)."""
    first = open_text(path, shown).partition("\n")[0]
    return [name.strip('"') for name in first.rstrip("\r").split("\t")]


def gold_by_id(
    rows: Iterable[Record], key: str, answers: Callable[[Record], tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the gold answers of a label file by question id.

    Raises:
        UsageError: a question occurs twice. The official evaluators count both (DocVQA) or keep the last (TextVQA);
            the intended label is unknown.
    """
    gold: dict[str, tuple[str, ...]] = {}
    for row in rows:
        name = row.identity(key)
        if name in gold:
            raise UsageError(f"{row.where}: duplicate gold answers for question {name}")
        gold[name] = answers(row)
    return gold


def vqa_samples(root: DataRoot, file: str, references: dict[str, tuple[str, ...]] | None = None) -> list[Sample]:
    """Read the jsonl shape shared by the image question sets (protocol sheet, 6: common to 6.1-6.4 and 6.8).

    Args:
        root: the data root.
        file: official path of the jsonl.
        references: gold answers by id; None takes the line's ``answer``, if it has one.

    Returns:
        The samples; the id is ``question_id``, or the 0-based line number if the file has no ids.

    Raises:
        UsageError: a malformed line, or an id without gold answers.
    """
    samples = []
    for row in read_jsonl(root.resolve(file), file):
        sample_id = row.identity("question_id") if "question_id" in row.data else str(row.line)
        if references is not None:
            if sample_id not in references:
                raise UsageError(f"{row.where}: question {sample_id} has no gold answer in the annotation file")
            gold = references[sample_id]
        else:
            gold = row.texts("answer") if "answer" in row.data else ()
        image = row.text("image")
        samples.append(Sample(sample_id, row.text("question"), (Media(image),), gold, group=image))
    return unique(samples, file)


def unique(samples: Iterable[Sample], file: str) -> list[Sample]:
    """Return the samples as a list.

    Raises:
        UsageError: two samples have the same id.
    """
    seen: dict[str, Sample] = {}
    for sample in samples:
        if sample.id in seen:
            raise UsageError(f"{file}: id {sample.id!r} occurs twice")
        seen[sample.id] = sample
    return list(seen.values())
