"""One rank's loop: take units, decode their media ahead of the model, append each answer as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.errors import MediaError, ModelUnavailable, UsageError, first_line
from evalkit.inference.plan import Unit
from evalkit.inference.progress import Progress
from evalkit.inference.queue import WorkQueue
from evalkit.media.decoder import Decoders
from evalkit.models.base import MediaGroup, Model, Wants
from evalkit.records import Outcome, Request, Response
from evalkit.runs.store import ShardWriter, answered_ids

# Units whose media are decoded while the model works on earlier ones.
AHEAD = 2

Key = tuple[str, str]


class _Loaded(NamedTuple):
    """A unit in this rank's hands, and its pixels or what is wrong with them."""

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
        requests: each task's requests, by place.
        model: the model; it may work on several units at a time.
        wants: what it looks at.
        decoders: decode the media.
        shards: the folder of a task's shards; answers go to its ``rank<rank>.jsonl``.
        rank: this rank.
        queue: hands out the units.
        progress: told of every media group and answer.
        ahead: units whose media are decoded ahead, each in a process of its own.

    Raises:
        UsageError: an answer cannot be written.
    """
    with ExitStack() as stack, ThreadPoolExecutor(ahead) as pool:
        hand = _Hand(shards, rank, queue, progress, stack)

        def load(number: int) -> _Loaded:
            group = [requests[task][index] for task, index in units[number]]
            if queue.taken_over(number):
                known = {task: answered_ids(shards(task)) for task, _ in units[number]}
                group = [request for request in group if request.id not in known[request.task]]
            return _Loaded(number, group, pool.submit(load_media, group, decoders, wants))

        while not queue.all_done():
            for request, response in _answers(model, hand.groups(load, ahead)):
                hand.keep(request, response)
            if not queue.all_done():  # others have the rest
                queue.idle()
                progress.share()


class _Hand:
    """The units in this rank's hands: their answers go into its shards, and a unit with all of its own is done."""

    def __init__(
        self, shards: Callable[[str], Path], rank: int, queue: WorkQueue, progress: Progress, stack: ExitStack
    ) -> None:
        self._folder, self._rank, self._queue, self._progress, self._stack = shards, rank, queue, progress, stack
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

    def _begin(self, number: int, requests: Sequence[Request], media: list[Any] | MediaError) -> None:
        """Note a unit that is asked now; one whose media cannot be read is answered with that."""
        self._progress.begin(requests, 0 if isinstance(media, MediaError) else _tiles(media))
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
                path = self._folder(request.task) / f"rank{self._rank}.jsonl"
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


def load_media(group: Sequence[Request], decoders: Decoders, wants: Wants) -> list[Any] | MediaError:
    """Return what a model wants of a group's media, see ``MediaGroup.media``; or what is wrong with them."""
    if wants == "nothing" or not group:
        return []
    try:
        media = [item for view in group[0].views for item in decoders.load(view, wants)]
    except MediaError as error:
        return error
    return [item.tobytes() for item in media] if wants == "bytes" else media


def _tiles(media: Sequence[Any]) -> int:
    return sum(len(item) for item in media if getattr(item, "ndim", 0) == 4)


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
        """Forget a request, and with the last one of a group its media.

        Raises:
            UsageError: the model was not given this request, or answers it a second time.
        """
        if self._open.pop((request.task, request.id), None) is None:
            raise UsageError(
                f"the model answered {request.id!r} of {request.task}, which is not among its open requests"
            )

    def parts(self) -> list[MediaGroup]:
        """Return what to ask next: each group by itself; one that stood alone in halves, the half needs less memory."""
        left: dict[int, MediaGroup] = {}
        for request, group in self._open.values():
            others = left[id(group)].requests if id(group) in left else ()
            left[id(group)] = MediaGroup([*others, request], group.media)
        if len(left) != 1:
            return list(left.values())
        ((requests, media),) = left.values()
        half = (len(requests) + 1) // 2
        return [MediaGroup(part, media) for part in (requests[:half], requests[half:]) if part]


def _answers(model: Model, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
    """Yield the model's answers; what it failed on is retried group by group, then in parts, down to one sample.

    Only what fails alone is that sample's failure, whatever the exception.

    Raises:
        ModelUnavailable: the model cannot answer any more.
        UsageError: the model says that the user's input is wrong, or breaks its contract.
    """
    pending = _Pending()
    reason = "the model gave no response"
    try:
        for request, response in model.answer(pending.noted(groups)):
            pending.answered(request)
            yield request, response
    except (ModelUnavailable, UsageError):
        raise
    except Exception as error:  # a model may be foreign code, or a server's client: anything is its own failure
        if pending.fetching:  # raised while the next group was prepared: not a failure of the model
            raise
        reason = first_line(error)
    for part in pending.parts():
        if pending.asked == 1:
            yield part.requests[0], Response(part.requests[0].id, "", Outcome.MODEL_ERROR, reason=reason)
        else:
            yield from _answers(model, [part])
