"""``evalkit judge``: requests about the answers of a run, answered by a judge model like any others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.console import say
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.inference.job import answer_units
from evalkit.inference.options import JudgeOptions
from evalkit.inference.plan import plan
from evalkit.inference.ranks import Ranks
from evalkit.judging import NOT_NAMED, Judge, Judged, settle
from evalkit.media.decoder import Decoders
from evalkit.models import find_model, identity
from evalkit.models.base import LocalRank, MediaGroup, Model, Source
from evalkit.records import Generation, Recipe, Request, Response, Sample
from evalkit.runs.judged import current_exchanges, judge_folder, prompt_sha256, write_exchanges
from evalkit.runs.lock import RunLock
from evalkit.runs.record import read_run
from evalkit.runs.rescore import recorded
from evalkit.runs.results import Answered
from evalkit.runs.settings import differences
from evalkit.runs.store import write_json
from evalkit.selection import Job, select

# Never expires: judging has one rank.
LEASE_S = 600.0


class _Open(NamedTuple):
    """An answer that is being judged, and the replies so far."""

    sample: Sample
    answer: str
    first: Request
    replies: list[str | None]


class Judging(Model):
    """A judge model with the judge's retry rule, as a model that turns requests into whole exchanges.

    Args:
        model: the judge model.
        judge: how the task is judged.
        name: the judge's name, for the record.
        answers: sample and answer by id.
    """

    def __init__(self, model: Model, judge: Judge, name: str, answers: Mapping[str, tuple[Sample, str]]) -> None:
        self._model = model
        self._judge = judge
        self._name = name
        self._answers = answers

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        """Yield the exchange about each answer: ``response`` is the answer, ``replies`` are the judge's."""
        exchanges: dict[str, _Open] = {}
        while True:
            retries: list[Request] = []
            for request, response in self._model.answer(groups):
                pending = exchanges.setdefault(request.id, _Open(*self._answers[request.id], request, []))
                if "replies" in response.extra:  # a recorded exchange is whole
                    pending.replies[:] = _recorded(pending, response)
                elif response.outcome.failed:
                    yield request, response
                    continue
                else:
                    pending.replies.append(response.response)
                settled = settle(self._judge, pending.sample, pending.answer, pending.replies)
                if settled.attempt is not None and "replies" not in response.extra:
                    retries.append(_at(self._judge, pending.first, settled.attempt))
                    continue
                record = {
                    "replies": pending.replies,
                    "model": self._name,
                    "prompt_sha256": prompt_sha256(pending.first.system, pending.first.prompt),
                }
                yield request, Response(request.id, pending.answer, extra=record)
            if not retries:
                return
            groups = [MediaGroup(retries, [])]


def _recorded(pending: _Open, response: Response) -> list[str | None]:
    if response.response and response.response != pending.answer:
        raise UsageError(f"id {response.id!r}: the judge record is for another answer than the run's")
    return list(response.extra["replies"])


def _at(judge: Judge, first: Request, attempt: int) -> Request:
    """Return the request of an attempt from the first one."""
    prompt = first.prompt + (judge.retry if attempt else "")
    generation = replace(first.generation, temperature=judge.temperatures[attempt])
    return replace(first, prompt=prompt, generation=generation)


def judge_run(run: Path, options: JudgeOptions) -> str:
    """Judge every answer of a run that needs it and is not yet judged by this judge.

    Args:
        run: the run folder.
        options: the judge and the tasks.

    Returns:
        The judge's name.

    Raises:
        UsageError: no task of the run uses a judge, or earlier judgements were made with other settings.
    """
    record = read_run(run)
    names = list(options.tasks or record.tasks)
    if unknown := [name for name in names if name not in record.tasks]:
        raise UsageError(f"{run} has no task {unknown[0]!r}; it has {', '.join(record.tasks)}")
    plugins = (*record.plugins, *options.plugin)
    root = DataRoot(options.data_root or record.data_root)
    source = find_model(options.judge, dict(options.model_option), plugins)
    name = options.judge_name or source.name or NOT_NAMED
    tasks = [task for task in select(record.card, names, plugins, root).tasks if task.judge]
    if not tasks:
        raise UsageError(f"{run}: no task uses a judge ({', '.join(names)})")
    lock = RunLock(run)
    with ExitStack() as stack:
        stack.callback(lock.close)
        lock.claim()
        model = source.open(LocalRank())
        settings = _settings(options, source, model)
        for task in tasks:
            answered = recorded(run, task, root, record.tasks[task.name]["limit"])
            _judge_task(run, answered, name, settings, source, model, root)
    return name


def _settings(options: JudgeOptions, source: Source, model: Model) -> dict[str, Any]:
    """Return what a judge's replies depend on; each recorded exchange stands for itself, so a record may grow."""
    if source.recorded:
        return {"recorded": True}
    settings: dict[str, Any] = model.describe().get("settings", {})
    return settings | identity(source, options.judge, dict(options.model_option))


def _judge_task(
    run: Path, answered: Answered, name: str, settings: dict[str, Any], source: Source, model: Model, root: DataRoot
) -> None:
    task, judge = answered.task, answered.task.judge
    assert judge is not None
    folder = judge_folder(run / task.name, name)
    rule = {"temperatures": list(judge.temperatures), "tries": judge.tries, "max_new_tokens": judge.max_new_tokens}
    _record_judge(folder, {"name": name, "settings": settings | rule})
    answers = {
        sample.id: (sample, response.response)
        for sample in answered.samples
        if (response := answered.responses.get(sample.id)) and not response.outcome.failed
    }
    texts = {key: answer for key, (_, answer) in answers.items()}
    requests = list(_requests(task.name, judge, answers))
    prompts = {request.id: prompt_sha256(request.system, request.prompt) for request in requests}
    known = current_exchanges(folder, texts)
    done = {key for key, item in known.items() if item.prompt_sha256 in (None, prompts.get(key))}
    job = Job(task, Recipe(prompt="{question}", max_new_tokens=judge.max_new_tokens), answered.samples, requests)
    made = plan([job], {task.name: done}, root, None, source.cost)
    left = sum(map(len, made.units))
    say(f"{task.name}: {len(requests)} answers for {name}: {len(requests) - left} already judged, {left} to judge")
    judging = Judging(model, judge, name, answers)
    with Decoders(root) as decoders:  # unused: a judge reads text only
        answer_units(made, [job], Ranks(), judging, "nothing", decoders, folder, lambda _: folder / "shards", LEASE_S)
    write_exchanges(folder, Judged(name, current_exchanges(folder, texts)))


def _requests(task: str, judge: Judge, answers: Mapping[str, tuple[Sample, str]]) -> Iterator[Request]:
    generation = Generation(judge.max_new_tokens, 0, judge.temperatures[0])
    index = 0
    for key, (sample, answer) in answers.items():
        prompt = judge.ask(sample, answer)
        if prompt is not None:
            yield Request(task, index, key, prompt, (), generation, system=judge.system)
            index += 1


def _record_judge(folder: Path, content: dict[str, Any]) -> None:
    """Write judge.json, or check that the judge's settings have not changed."""
    path = folder / "judge.json"
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{path}: not valid JSON ({error})") from error
        if changed := list(differences(before.get("settings"), content["settings"])):
            raise UsageError(
                f"{folder} holds judgements made with other settings ({changed[0]}); choose another --judge-name"
            )
    write_json(path, content)
