"""One rank's loop: take units, decode their media ahead of the model, append each answer as it arrives."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.errors import MediaError, ModelUnavailable, UsageError, first_line
from evalkit.inference.plan import Unit
from evalkit.inference.progress import Progress
from evalkit.inference.queue import WorkQueue
from evalkit.media.decoder import Decoders
from evalkit.models.base import MediaGroup, Model, Wants
from evalkit.records import Outcome, Request, Response
from evalkit.requests import pixels_of
from evalkit.runs.store import ShardWriter, answered_ids, response_line

# Units whose media are decoded while the model works on earlier ones.
AHEAD = 2

Key = tuple[str, str]


class _Loaded(NamedTuple):
    """A unit that this rank holds, and its media or why they cannot be read."""

    number: int
    requests: list[Request]
    media: Future[list[Any] | MediaError]


def work(
    units: Sequence[Unit],
    requests: Mapping[str, Sequence[Request]],
    model: Model,
    wants: Wants,
    decoders: Decoders,
    shards: Callable[[str], Path],
    rank: int,
    queue: WorkQueue,
    progress: Progress,
    ahead: int = AHEAD,
) -> None:
    """Answer units until every unit is done, by this rank or another.

    Args:
        units: the plan, the same on every rank.
        requests: each task's requests, by index.
        model: the model; it may have several units in flight.
        wants: the form of media that the model takes.
        decoders: decode the media.
        shards: the folder of a task's shards; answers go to its ``rank<rank>.jsonl``.
        rank: this rank.
        queue: hands out the units.
        progress: counts media groups and answers.
        ahead: units whose media are decoded ahead, each in a process of its own.

    Raises:
        UsageError: an answer cannot be written.
    """
    with ExitStack() as stack, ThreadPoolExecutor(ahead) as pool:
        held = _HeldUnits(shards, rank, queue, progress, stack)

        def load(number: int) -> _Loaded:
            group = [requests[task][index] for task, index in units[number]]
            if queue.taken_over(number):
                known = {task: answered_ids(shards(task)) for task, _ in units[number]}
                group = [request for request in group if request.id not in known[request.task]]
            return _Loaded(number, group, pool.submit(load_media, group, decoders, wants))

        while not queue.all_done():
            for request, response in robust_answers(model, held.groups(load, ahead)):
                held.store(request, response)
            if not queue.all_done():  # other ranks hold the rest
                queue.idle()
                progress.share()


class _HeldUnits:
    """The units that this rank holds: their answers go into its shards; a unit is done when all its answers are in."""

    def __init__(
        self, shards: Callable[[str], Path], rank: int, queue: WorkQueue, progress: Progress, stack: ExitStack
    ) -> None:
        self._folder, self._rank, self._queue, self._progress, self._stack = shards, rank, queue, progress, stack
        self._shards: dict[str, ShardWriter] = {}
        self._unit: dict[Key, int] = {}
        self._left: dict[int, int] = {}
        self._waiting: deque[_Loaded] = deque()

    def groups(self, load: Callable[[int], _Loaded], ahead: int) -> Iterator[MediaGroup]:
        """Yield groups to answer; ends when none is available now (other ranks may hold the rest)."""
        while True:
            while len(self._waiting) <= ahead and (number := self._queue.take()) is not None:
                self._waiting.append(load(number))
            if not self._waiting:
                return
            unit = self._waiting.popleft()
            if not self._queue.owns(unit.number):
                continue
            media = unit.media.result()
            self._start(unit.number, unit.requests, media)
            if unit.requests and not isinstance(media, MediaError):
                yield MediaGroup(unit.requests, media)

    def _start(self, number: int, requests: Sequence[Request], media: list[Any] | MediaError) -> None:
        """Register a unit as in flight; if its media cannot be read, its requests become media errors."""
        self._progress.start_group(requests, 0 if isinstance(media, MediaError) else _tiles(media))
        self._left[number] = len(requests)
        self._unit.update(((request.task, request.id), number) for request in requests)
        if isinstance(media, MediaError):
            for request in requests:
                self.store(request, Response(request.id, "", Outcome.MEDIA_ERROR, reason=str(media)))
        elif not requests:
            self._finish(number)

    def store(self, request: Request, response: Response) -> None:
        """Append an answer, unless this rank was stalled and another one has taken over the unit."""
        number = self._unit.pop((request.task, request.id))
        if self._queue.owns(number):
            if request.task not in self._shards:
                path = self._folder(request.task) / f"rank{self._rank}.jsonl"
                self._shards[request.task] = self._stack.enter_context(ShardWriter(path))
            self._shards[request.task].append(response)
            self._progress.add(request.task, response)
        self._left[number] -= 1
        if not self._left[number]:
            self._finish(number)

    def _finish(self, number: int) -> None:
        del self._left[number]
        self._progress.share()  # before the unit counts as done, so that the totals are complete when the last unit is
        self._queue.finish(number)


def load_media(group: Sequence[Request], decoders: Decoders, wants: Wants) -> list[Any] | MediaError:
    """Return what a model wants of a group's media, see ``MediaGroup.media``; or why they cannot be read."""
    if wants == "nothing" or not group:
        return []
    try:
        load = partial(decoders.load, wants=wants)
        media = (
            pixels_of(group[0], load) if wants == "tiles" else [item for view in group[0].views for item in load(view)]
        )
    except MediaError as error:
        return error
    return [item.tobytes() for item in media] if wants == "bytes" else media


def _tiles(media: Sequence[Any]) -> int:
    return sum(len(item) for item in media if getattr(item, "ndim", 0) == 4)


class _Pending:
    """The groups that a model has taken and not fully answered."""

    def __init__(self) -> None:
        self.fetching = self.started = self.exhausted = False
        self.taken = 0
        self._open: dict[Key, tuple[Request, MediaGroup]] = {}

    def track(self, groups: Iterable[MediaGroup]) -> Iterator[MediaGroup]:
        """Yield the groups, recording them as pending."""
        self.fetching = self.started = True
        for group in groups:
            self._open.update(((request.task, request.id), (request, group)) for request in group.requests)
            self.taken += len(group.requests)
            self.fetching = False
            yield group
            self.fetching = True
        self.fetching, self.exhausted = False, True

    def answered(self, request: Request) -> None:
        """Drop a request, and with the last one of a group its media.

        Raises:
            UsageError: the model was not given this request, or answers it a second time.
        """
        if self._open.pop((request.task, request.id), None) is None:
            raise UsageError(
                f"the model answered {request.id!r} of {request.task}, which is not among its open requests"
            )

    def left(self) -> list[MediaGroup]:
        """Return the unanswered requests, one group each."""
        left: dict[int, MediaGroup] = {}
        for request, group in self._open.values():
            others = left[id(group)].requests if id(group) in left else ()
            left[id(group)] = MediaGroup([*others, request], group.media)
        return list(left.values())


def robust_answers(model: Model, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
    """Yield the model's answers; what it failed on is retried group by group, then in halves, down to one sample.

    Only a request that fails alone fails its sample, with any exception.

    Raises:
        ModelUnavailable: the model can no longer answer, or fails before it takes a group.
        UsageError: the model says that the user's input is wrong, or breaks its contract.
    """
    pending = _Pending()
    reason = "the model stopped without an answer"
    try:
        for request, response in model.answer(pending.track(groups)):
            pending.answered(request)
            yield request, _storable(request, response)
    except (ModelUnavailable, UsageError):
        raise
    except Exception as error:  # a model may be foreign code, or a server's client: anything is its own failure
        if pending.fetching and pending.started:  # raised while the next group was prepared: not the model's failure
            raise
        reason = first_line(error)
    if not pending.taken and not pending.exhausted:
        raise ModelUnavailable(f"the model failed before its first request: {reason}")
    left = pending.left()
    for group in _halves(left[0]) if len(left) == 1 and len(left[0].requests) > 1 else left:
        yield from _retry(model, group, reason)


def _retry(model: Model, group: MediaGroup, reason: str) -> Iterator[tuple[Request, Response]]:
    """Ask about one group again; halve it as long as the model fails.

    Args:
        model: the model.
        group: the group.
        reason: why the last attempt failed.
    """
    pending = _Pending()
    for _ in pending.track([group]):
        pass
    try:
        for request, response in model.answer([group]):
            pending.answered(request)
            yield request, _storable(request, response)
    except (ModelUnavailable, UsageError):
        raise
    except Exception as error:  # as in robust_answers
        reason = first_line(error)
    for left in pending.left():
        if len(group.requests) == 1:
            yield left.requests[0], _failed(left.requests[0], reason)
        else:
            for half in _halves(left):
                yield from _retry(model, half, reason)


def _halves(group: MediaGroup) -> list[MediaGroup]:
    """Return a group in halves, which need less memory."""
    half = (len(group.requests) + 1) // 2
    return [MediaGroup(part, group.media) for part in (group.requests[:half], group.requests[half:]) if part]


def _failed(request: Request, reason: str) -> Response:
    return Response(request.id, "", Outcome.MODEL_ERROR, reason=reason.encode(errors="replace").decode())


def _storable(request: Request, response: Response) -> Response:
    """Return a model's response, or the sample's failure if a file cannot hold it.

    Raises:
        UsageError: it is about another sample.
    """
    if response.id != request.id:
        raise UsageError(f"the model answered {request.id!r} of {request.task} with a response to {response.id!r}")
    text: object = response.response  # a model may be foreign code without types
    if not isinstance(text, str):
        return _failed(request, f"the model's answer is of type {type(text).__name__}, not text")
    try:
        response_line(response).encode()
    except (TypeError, ValueError) as error:  # half a surrogate pair, or an extra that JSON cannot hold
        return _failed(request, f"the model's answer cannot be stored: {first_line(error)}")
    return response
