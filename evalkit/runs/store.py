"""The files of a run folder: shards that survive a crash, predictions, scores."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from evalkit.data.readers import storable
from evalkit.errors import UsageError
from evalkit.files import write_atomically
from evalkit.metrics.metric import in_range
from evalkit.records import Outcome, Response, Sample, SampleScore
from evalkit.runs.xlsx import read_xlsx


def response_line(response: Response) -> str:
    """Return a response as one line of JSON."""
    record = asdict(response) | {"outcome": response.outcome.value}
    record = record.pop("extra") | record
    if not response.reason:
        record.pop("reason")
    return json.dumps(record, ensure_ascii=False)


def _parse_response(text: str, where: str, foreign: bool = False) -> Response:
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not valid JSON ({error})") from error
    if not isinstance(record, dict):
        raise UsageError(f"{where}: must be an object with 'id' and 'response'")
    if not storable(json.dumps(record, ensure_ascii=False)):
        raise UsageError(f"{where}: contains an unpaired surrogate (not valid text)")
    if "replies" in record:  # a judge's record need not say which answer was judged
        _check_replies(record["replies"], where)
        record = {"response": ""} | record
    for key in ("id", "response"):
        if not isinstance(record.get(key), str):
            raise UsageError(f'{where}: {key!r} must be a string, as in {{"id": "49153", "response": "text"}}')
    extra = {key: value for key, value in record.items() if key not in Response.__dataclass_fields__}
    if foreign:
        return Response(record["id"], record["response"], extra=extra)
    try:
        outcome = Outcome(record.get("outcome", "ok"))
    except ValueError as error:
        raise UsageError(f"{where}: 'outcome' must be one of {', '.join(item.value for item in Outcome)}") from error
    counts = [
        value if isinstance(value := record.get(f"{part}_tokens"), int) else None for part in ("prompt", "output")
    ]
    reason = str(record.get("reason", ""))
    return Response(record["id"], record["response"], outcome, counts[0], counts[1], reason, extra)


def _check_replies(replies: Any, where: str) -> None:
    if not isinstance(replies, list) or not all(reply is None or isinstance(reply, str) for reply in replies):
        raise UsageError(f"{where}: 'replies' must be a list of strings, null for a failed request")


def _lines(path: Path, whole_only: bool = False) -> list[str]:
    """Return the lines of a file; ``whole_only`` drops a last line without newline, truncated by a crash."""
    try:
        content = path.read_bytes()
        if whole_only:
            content = content[: max(0, content.rfind(b"\n"))]
        return content.decode("utf-8-sig").split("\n") if content else []
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a UTF-8 text file ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def read_predictions(path: Path, known: Iterable[str] | None = None, foreign: bool = False) -> dict[str, Response]:
    """Return the responses of a predictions file by id.

    Args:
        path: JSONL with ``id`` and ``response``, extra keys are ignored; or VLMEvalKit's xlsx.
        known: the task's ids; None accepts any.
        foreign: not written by evalkit: only ``id`` and ``response`` are interpreted.

    Raises:
        UsageError: a malformed line, or a duplicate or unknown id, with its line number.
    """
    allowed = None if known is None else set(known)
    responses: dict[str, Response] = {}
    for where, response in read_xlsx(path) if path.suffix == ".xlsx" else _read_jsonl(path, foreign):
        if response.id in responses:
            raise UsageError(f"{where}: id {response.id!r} occurs twice")
        if allowed is not None and response.id not in allowed:
            raise UsageError(f"{where}: id {response.id!r} is not in the task's data")
        responses[response.id] = response
    return responses


def _read_jsonl(path: Path, foreign: bool) -> Iterator[tuple[str, Response]]:
    for number, text in enumerate(_lines(path), start=1):
        if text.strip():
            where = f"{path}:{number}"
            yield where, _parse_response(text, where, foreign)


class ShardWriter:
    """Appends responses to one rank's shard, each written as soon as it exists.

    Args:
        path: the shard; a last line truncated by an earlier crash is removed.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            whole = path.read_bytes().rfind(b"\n") + 1
            os.truncate(path, whole)
        self._path = path
        self._file = path.open("ab", buffering=0)

    def append(self, response: Response) -> None:
        """Write one response and hand it to the operating system.

        Raises:
            UsageError: it cannot be written (full disk, lost file system); no part of it is left.
        """
        line = (response_line(response) + "\n").encode()
        before = self._file.tell()
        try:
            written = self._file.write(line)
            while written < len(line):  # an almost full disk accepts a part first and then fails
                written += self._file.write(line[written:])
        except OSError as error:
            with suppress(OSError):
                os.truncate(self._path, before)
            raise UsageError(
                f"{self._path}: cannot be written ({error.strerror}); all answers so far are kept; fix this "
                "and rerun the same command to resume"
            ) from error

    def close(self) -> None:
        """Flush the content to disk and close the file.

        Raises:
            UsageError: a network file system buffered an answer and then failed to store it.
        """
        try:
            with self._file:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise UsageError(
                f"{self._path}: cannot be written ({error.strerror}); rerun the same command to resume"
            ) from error

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(UsageError) if error else nullcontext():  # the first error is the one to report
            self.close()


def read_shards(folder: Path) -> dict[str, Response]:
    """Return the responses of all shards of a task by id.

    A truncated last line is dropped. A sample that failed and was retried has the answer of the later attempt.

    Raises:
        UsageError: a line other than the last is damaged.
    """
    responses: dict[str, Response] = {}
    for response in shard_lines(folder):
        earlier = responses.get(response.id)
        if earlier is None or earlier.outcome.failed:
            responses[response.id] = response
    return responses


def shard_lines(folder: Path) -> Iterator[Response]:
    """Yield every response in a folder of shards.

    Raises:
        UsageError: as ``read_shards``.
    """
    for path in sorted(folder.glob("*.jsonl")):
        for number, text in enumerate(_lines(path, whole_only=True), start=1):
            yield _parse_response(text, f"{path}:{number}")


def answered_ids(shards: Path) -> set[str]:
    """Return the ids that have an answer in a folder of shards."""
    return {key for key, response in read_shards(shards).items() if not response.outcome.failed}


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON atomically."""
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_predictions(folder: Path, samples: Sequence[Sample], responses: Mapping[str, Response]) -> None:
    """Write ``predictions.jsonl``: one line per sample, in dataset order."""
    absent = [Response(sample.id, "", Outcome.MISSING, reason="no response") for sample in samples]
    lines = (response_line(responses.get(item.id, item)) + "\n" for item in absent)
    write_atomically(folder / "predictions.jsonl", "".join(lines))


def write_scores(folder: Path, lines: Sequence[SampleScore]) -> None:
    """Write ``scores.jsonl``: one line per sample, in order, without what does not apply."""
    records = [asdict(line) | {"outcome": line.outcome.value} for line in lines]
    for record in records:
        for name in ("disagrees", "keys", "more_subsets"):
            if record[name] in (None, {}, ()):
                del record[name]
    write_atomically(folder / "scores.jsonl", "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in records))


def read_scores(path: Path, unbounded: bool = False) -> list[SampleScore]:
    """Return the lines of a ``scores.jsonl``.

    Args:
        path: the file.
        unbounded: whether values may be more than 1 (``Task.unbounded``).

    Raises:
        UsageError: missing, or a line that is not a score written by evalkit, or a duplicate id, with its line number.
    """
    from pydantic import TypeAdapter, ValidationError  # slow to import, and `status` does not need it

    adapter = TypeAdapter(SampleScore)
    scores: dict[str, SampleScore] = {}
    for number, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        try:
            score = adapter.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"{where}: not a score written by evalkit ({key + ': ' if key else ''}{first['msg']})"
            ) from error
        if not all(value is None or in_range(value, unbounded) for value in (score.value, score.fixed)):
            raise UsageError(f"{where}: a value is not {'finite and at least 0' if unbounded else 'between 0 and 1'}")
        if score.id in scores:
            raise UsageError(f"{where}: id {score.id!r} occurs twice")
        scores[score.id] = score
    if len({score.value is None for score in scores.values()}) > 1:
        raise UsageError(f"{path}: some samples have a value and some do not")
    return list(scores.values())
