"""One rank's loop: take the next unit, load its media ahead of the model, append each answer as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from evalkit.data.root import DataRoot
from evalkit.errors import InputError, MediaError
from evalkit.media.load import load
from evalkit.models.base import Model, Pixels
from evalkit.records import Outcome, Request, Response
from evalkit.run.plan import Unit
from evalkit.run.progress import Progress
from evalkit.run.ranks import Ranks
from evalkit.run.store import ShardWriter

# Units whose media are decoded while the model works on an earlier one.
AHEAD = 2


def work(
    units: Sequence[Unit],
    requests: Mapping[str, Sequence[Request]],
    model: Model,
    root: DataRoot,
    out: Path,
    ranks: Ranks,
    progress: Progress,
) -> None:
    """Answer units until the queue is empty.

    Args:
        units: the plan, the same on every rank.
        requests: each task's requests, by place.
        model: the model.
        root: the data root.
        out: the run folder; answers go to ``<task>/shards/rank<rank>.jsonl``.
        ranks: the queue.
        progress: told of every media group and answer.
    """
    with ExitStack() as stack:
        writers: dict[str, ShardWriter] = {}
        for group, media in _with_media(units, requests, model.needs_media, root, ranks):
            progress.begin(group, 0 if isinstance(media, MediaError) else sum(map(len, media)))
            for request, response in _answers(model, group, media):
                if request.task not in writers:
                    path = out / request.task / "shards" / f"rank{ranks.rank}.jsonl"
                    writers[request.task] = stack.enter_context(ShardWriter(path))
                writers[request.task].append(response)
                progress.add(request.task, response)


def _with_media(
    units: Sequence[Unit], requests: Mapping[str, Sequence[Request]], needs_media: bool, root: DataRoot, ranks: Ranks
) -> Iterator[tuple[list[Request], Pixels | MediaError]]:
    """Yield units with their pixels, or with what is wrong with them; decoding runs ahead in threads."""
    waiting: deque[tuple[list[Request], Future[Pixels | MediaError]]] = deque()
    with ThreadPoolExecutor(AHEAD) as pool:
        while True:
            while len(waiting) <= AHEAD and (number := ranks.take()) < len(units):
                group = [requests[task][index] for task, index in units[number]]
                waiting.append((group, pool.submit(_pixels, group[0], root, needs_media)))
            if not waiting:
                return
            group, pixels = waiting.popleft()
            yield group, pixels.result()


def _pixels(request: Request, root: DataRoot, needs_media: bool) -> Pixels | MediaError:
    if not needs_media:
        return []
    try:
        return [tiles for view in request.views for tiles in load(view, root)]
    except MediaError as error:
        return error
    except InputError as error:  # a path that leaves the data root
        return MediaError(request.views[0].media.path, str(error))


def _answers(model: Model, group: list[Request], media: Pixels | MediaError) -> Iterator[tuple[Request, Response]]:
    if isinstance(media, MediaError):
        for request in group:
            yield request, Response(request.id, "", Outcome.MEDIA_ERROR, reason=str(media))
        return
    answered = set()
    try:
        for request, response in model.answer(group, media):
            answered.add((request.task, request.id))
            yield request, response
    except RuntimeError as error:  # torch's errors, out of memory among them: one sample must not end the run
        left = [request for request in group if (request.task, request.id) not in answered]
        reason = next(iter(str(error).splitlines()), type(error).__name__)
    else:
        return
    if len(group) == 1:
        yield group[0], Response(group[0].id, "", Outcome.MODEL_ERROR, reason=reason)
        return
    for request in left:
        yield from _answers(model, [request], media)
