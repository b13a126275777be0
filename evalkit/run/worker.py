"""One rank's loop: take the next unit, decode its media ahead of the model, append each answer as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from evalkit.errors import MediaError
from evalkit.media.decoder import Decoders
from evalkit.models.base import Model, Pixels
from evalkit.records import Outcome, Request, Response
from evalkit.run.plan import Unit
from evalkit.run.progress import Progress
from evalkit.run.queue import WorkQueue
from evalkit.run.store import ShardWriter, answered_ids

# Units whose media are decoded while the model works on an earlier one.
AHEAD = 2


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
) -> None:
    """Answer units until every unit is done, by this rank or another.

    Args:
        units: the plan, the same on every rank.
        requests: each task's requests, by place.
        model: the model.
        decoders: decode the media.
        out: the run folder; answers go to ``<task>/shards/rank<rank>.jsonl``.
        rank: this rank.
        queue: hands out the units.
        progress: told of every media group and answer.

    Raises:
        InputError: an answer cannot be written.
    """
    with ExitStack() as stack:
        writers: dict[str, ShardWriter] = {}
        for unit in _loaded(units, requests, model.needs_media, decoders, out, queue, progress):
            if not queue.owns(unit.number):
                continue
            media = unit.media.result()
            progress.begin(unit.requests, 0 if isinstance(media, MediaError) else sum(map(len, media)))
            for request, response in _answers(model, unit.requests, media):
                if not queue.owns(unit.number):
                    break  # this rank stood still for so long that another has the unit now
                if request.task not in writers:
                    path = out / request.task / "shards" / f"rank{rank}.jsonl"
                    writers[request.task] = stack.enter_context(ShardWriter(path))
                writers[request.task].append(response)
                progress.add(request.task, response)
            progress.share()  # before the unit counts as done: the totals are whole when the last one is
            queue.finish(unit.number)


def _loaded(
    units: Sequence[Unit],
    requests: Mapping[str, Sequence[Request]],
    needs_media: bool,
    decoders: Decoders,
    out: Path,
    queue: WorkQueue,
    progress: Progress,
) -> Iterator[_Loaded]:
    """Yield units until all are done; decoding runs ahead, one process behind each thread."""
    waiting: deque[_Loaded] = deque()
    with ThreadPoolExecutor(AHEAD) as pool:
        while waiting or not queue.all_done():
            while len(waiting) <= AHEAD and (number := queue.take()) is not None:
                group = [requests[task][index] for task, index in units[number]]
                if queue.taken_over(number):
                    known = {task: answered_ids(out / task) for task, _ in units[number]}
                    group = [request for request in group if request.id not in known[request.task]]
                waiting.append(_Loaded(number, group, pool.submit(_pixels, group, decoders, needs_media)))
            if waiting:
                yield waiting.popleft()
            else:
                queue.idle()
                progress.share()


def _pixels(group: Sequence[Request], decoders: Decoders, needs_media: bool) -> Pixels | MediaError:
    if not needs_media or not group:
        return []
    try:
        return [tiles for view in group[0].views for tiles in decoders.load(view)]
    except MediaError as error:
        return error


def _answers(model: Model, group: list[Request], media: Pixels | MediaError) -> Iterator[tuple[Request, Response]]:
    if isinstance(media, MediaError):
        for request in group:
            yield request, Response(request.id, "", Outcome.MEDIA_ERROR, reason=str(media))
        return
    if not group:
        return
    answered = set()
    try:
        for request, response in model.answer(group, media):
            answered.add((request.task, request.id))
            yield request, response
    except (RuntimeError, MemoryError) as error:  # torch's errors are RuntimeErrors, out of memory among them
        left = [request for request in group if (request.task, request.id) not in answered]
        reason = next(iter(str(error).splitlines()), type(error).__name__)
    else:
        return
    if len(group) == 1:
        yield group[0], Response(group[0].id, "", Outcome.MODEL_ERROR, reason=reason)
        return
    # Half as many questions need half the memory; down to one, which alone is the model's failure.
    half = (len(left) + 1) // 2 if len(left) == len(group) else len(left)
    for part in (left[:half], left[half:]):
        if part:
            yield from _answers(model, part, media)
