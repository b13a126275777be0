"""One rank's loop: take units, decode their media ahead of the model, append each answer as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from evalkit.errors import MediaError
from evalkit.inference.plan import Unit
from evalkit.inference.progress import Progress
from evalkit.inference.queue import WorkQueue
from evalkit.media.decoder import Decoders
from evalkit.models.base import MediaGroup, Model, Pixels
from evalkit.records import Outcome, Request, Response
from evalkit.requests import pixels_of
from evalkit.runs.store import ShardWriter, answered_ids

# Units whose media are decoded while the model works on earlier ones.
AHEAD = 2

Key = tuple[str, str]


class _Loaded(NamedTuple):
    """A unit in this rank's hands, and its pixels or what is wrong with them."""

    number: int
    requests: list[Request]
    media: Future[Pixels | MediaError]


def work(
    units: Sequence[Unit],
    requests: Mapping[str, Sequence[Request]],
    model: Model,
    decoders: Decoders,
    out: Path,
    rank: int,
    queue: WorkQueue,
    progress: Progress,
    ahead: int = AHEAD,
) -> None:
    """Answer units until every unit is done, by this rank or another.

    Args:
        units: the plan, the same on every rank.
        requests: each task's requests, by place.
        model: the model; it may work on several units at a time.
        decoders: decode the media.
        out: the run folder; answers go to ``<task>/shards/rank<rank>.jsonl``.
        rank: this rank.
        queue: hands out the units.
        progress: told of every media group and answer.
        ahead: units whose media are decoded ahead, each in a process of its own.

    Raises:
        UsageError: an answer cannot be written.
    """
    with ExitStack() as stack, ThreadPoolExecutor(ahead) as pool:
        hand = _Hand(out, rank, queue, progress, stack)

        def load(number: int) -> _Loaded:
            group = [requests[task][index] for task, index in units[number]]
            if queue.taken_over(number):
                known = {task: answered_ids(out / task) for task, _ in units[number]}
                group = [request for request in group if request.id not in known[request.task]]
            return _Loaded(number, group, pool.submit(_pixels, group, decoders, model.needs_media))

        while not queue.all_done():
            for request, response in _answers(model, hand.groups(load, ahead)):
                hand.keep(request, response)
            if not queue.all_done():  # others have the rest
                queue.idle()
                progress.share()


class _Hand:
    """The units in this rank's hands: their answers go into its shards, and a unit with all of its own is done."""

    def __init__(self, out: Path, rank: int, queue: WorkQueue, progress: Progress, stack: ExitStack) -> None:
        self._out, self._rank, self._queue, self._progress, self._stack = out, rank, queue, progress, stack
        self._shards: dict[str, ShardWriter] = {}
        self._unit: dict[Key, int] = {}
        self._left: dict[int, int] = {}
        self._waiting: deque[_Loaded] = deque()

    def groups(self, load: Callable[[int], _Loaded], ahead: int) -> Iterator[MediaGroup]:
        """Yield what there is to ask; ends when there is nothing for now, for other ranks may have the rest."""
        while True:
            while len(self._waiting) <= ahead and (number := self._queue.take()) is not None:
                self._waiting.append(load(number))
            if not self._waiting:
                return
            unit = self._waiting.popleft()
            if not self._queue.owns(unit.number):
                continue
            media = unit.media.result()
            self._begin(unit.number, unit.requests, media)
            if unit.requests and not isinstance(media, MediaError):
                yield MediaGroup(unit.requests, media)

    def _begin(self, number: int, requests: Sequence[Request], media: Pixels | MediaError) -> None:
        """Note a unit that is asked now; one whose media cannot be read is answered with that."""
        self._progress.begin(requests, 0 if isinstance(media, MediaError) else sum(map(len, media)))
        self._left[number] = len(requests)
        self._unit.update(((request.task, request.id), number) for request in requests)
        if isinstance(media, MediaError):
            for request in requests:
                self.keep(request, Response(request.id, "", Outcome.MEDIA_ERROR, reason=str(media)))
        elif not requests:
            self._finish(number)

    def keep(self, request: Request, response: Response) -> None:
        """Append an answer, unless this rank stood still for so long that another has the unit now."""
        number = self._unit.pop((request.task, request.id))
        if self._queue.owns(number):
            if request.task not in self._shards:
                path = self._out / request.task / "shards" / f"rank{self._rank}.jsonl"
                self._shards[request.task] = self._stack.enter_context(ShardWriter(path))
            self._shards[request.task].append(response)
            self._progress.add(request.task, response)
        self._left[number] -= 1
        if not self._left[number]:
            self._finish(number)

    def _finish(self, number: int) -> None:
        del self._left[number]
        self._progress.share()  # before the unit counts as done: the totals are whole when the last one is
        self._queue.finish(number)


def _pixels(group: Sequence[Request], decoders: Decoders, needs_media: bool) -> Pixels | MediaError:
    if not needs_media or not group:
        return []
    try:
        return pixels_of(group[0], decoders.load)
    except MediaError as error:
        return error


class _Pending:
    """The groups that a model has taken and not answered in full."""

    def __init__(self) -> None:
        self.fetching = False
        self.asked = 0
        self._open: dict[Key, tuple[Request, MediaGroup]] = {}

    def noted(self, groups: Iterable[MediaGroup]) -> Iterator[MediaGroup]:
        """Hand the groups on."""
        self.fetching = True
        for group in groups:
            self._open.update(((request.task, request.id), (request, group)) for request in group.requests)
            self.asked += len(group.requests)
            self.fetching = False
            yield group
            self.fetching = True
        self.fetching = False

    def answered(self, request: Request) -> None:
        """Forget a request, and with the last one of a group its pixels."""
        del self._open[request.task, request.id]

    def parts(self) -> list[MediaGroup]:
        """Return what to ask next: each group by itself; one that stood alone in halves, the half needs less memory."""
        left: dict[int, MediaGroup] = {}
        for request, group in self._open.values():
            others = left[id(group)].requests if id(group) in left else ()
            left[id(group)] = MediaGroup([*others, request], group.pixels)
        if len(left) != 1:
            return list(left.values())
        ((requests, pixels),) = left.values()
        half = (len(requests) + 1) // 2
        return [MediaGroup(part, pixels) for part in (requests[:half], requests[half:]) if part]


def _answers(model: Model, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
    """Yield the model's answers; what it failed on is asked again group by group, then in parts, down to one sample.

    Only what fails alone is the model's failure.
    """
    pending = _Pending()
    try:
        for request, response in model.answer(pending.noted(groups)):
            pending.answered(request)
            yield request, response
        return
    except (RuntimeError, MemoryError) as error:  # torch's errors are RuntimeErrors, out of memory among them
        if pending.fetching:  # no failure of the model
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
    for part in pending.parts():
        if pending.asked == 1:
            yield part.requests[0], Response(part.requests[0].id, "", Outcome.MODEL_ERROR, reason=reason)
        else:
            yield from _answers(model, [part])
