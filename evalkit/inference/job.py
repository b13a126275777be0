"""A run from options to scores: prepare, answer, merge, score."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evalkit import __version__
from evalkit.card import Card
from evalkit.console import listed, say
from evalkit.data.root import DataRoot
from evalkit.errors import EvalkitError, UsageError
from evalkit.inference.audit import audit
from evalkit.inference.options import RunOptions
from evalkit.inference.plan import Plan, plan
from evalkit.media.decoder import Decoders
from evalkit.models import find_model, identity
from evalkit.models.base import LocalRank, Model, Source, Wants
from evalkit.redact import redact, redact_command
from evalkit.runs.folder import RunFolder
from evalkit.runs.lock import RunLock
from evalkit.runs.record import RunRecord, has_record, read_run
from evalkit.runs.rescore import with_judgements
from evalkit.runs.results import Answered, judges_of, report_gaps, score_lines, write_results
from evalkit.runs.settings import differences, fingerprint, media_fingerprint, task_settings
from evalkit.runs.store import answered_ids, read_shards, write_predictions
from evalkit.selection import Job, Selection, build_jobs, card_reference, say_skipped, select

if TYPE_CHECKING:
    from evalkit.inference.ranks import Ranks

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pillow", "decord", "av")
# Most decoders per rank.
MOST_AHEAD = 8


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Everything a rank needs before it may answer."""

    options: RunOptions
    ranks: Ranks
    root: DataRoot
    selection: Selection
    jobs: list[Job]
    source: Source
    model: Model
    decoders: Decoders


class Ended(NamedTuple):
    """How a rank ended: its exit code, and the card of the run on the rank that scored it."""

    code: int
    card: Card | None


def execute(options: RunOptions, ranks: Ranks, command: Sequence[str]) -> Ended:
    """Run or resume a job on this rank; one rank, usually rank 0, merges and scores.

    Raises:
        EvalkitError: on rank 0 for every preparation error; the other ranks exit silently with its code.
    """
    started = time.time()
    lock = RunLock(options.out)
    with ExitStack() as stack:
        stack.callback(lock.close)
        prepared = _prepare_together(options, ranks, command, lock, stack)
        return Ended(prepared, None) if isinstance(prepared, int) else _answer_and_finish(*prepared, started)


def _prepare_together(
    options: RunOptions, ranks: Ranks, command: Sequence[str], lock: RunLock, stack: ExitStack
) -> tuple[_Prepared, Plan] | int:
    """Return this rank's preparation and the plan, which rank 0 makes; or the exit code."""
    try:
        prepared = _prepare(options, ranks, lock)
        stack.enter_context(prepared.decoders)
        if ranks.rank == 0:
            _open_run(prepared, command)
            made = _plan(prepared)
            ranks.publish("plan", made._asdict())
            return prepared, made
    except (EvalkitError, OSError) as error:
        code = error.exit_code if isinstance(error, EvalkitError) else UsageError.exit_code
        if ranks.rank == 0:
            ranks.publish("plan", {"exit": code})
            raise
        received = int(ranks.receive("plan").get("exit", 0))
        if not received:  # this rank alone failed
            say(f"evalkit (rank {ranks.rank}): {error}")
        return received or code
    message = ranks.receive("plan")
    if "exit" in message:
        return int(message["exit"])
    lock.join()
    return prepared, Plan([[(task, index) for task, index in unit] for unit in message["units"]], message["costs"])


def _prepare(options: RunOptions, ranks: Ranks, lock: RunLock) -> _Prepared:
    root = DataRoot(options.data_root)
    selection = select(options.card, options.tasks, options.plugin, root)
    source = find_model(options.model, options.model_options, options.plugin)
    tile_size = source.tile_size or selection.card.tile_size
    with_images = source.wants != "nothing"
    jobs = build_jobs(selection, root, options.limit, tile_size, source.refuses, with_images)
    if ranks.rank == 0:
        say_skipped(selection)
        for job in jobs:
            for note in job.task.check(job.samples, False) if job.task.check else ():
                say(f"{job.task.name}: {note}")
        if not lock.claim():
            say(f"note: {options.out} is on a file system without locks: a second job there would go undetected")
    model = source.open(LocalRank(ranks.local_rank, ranks.local_world))
    return _Prepared(options, ranks, root, selection, jobs, source, model, Decoders(root, options.media_timeout))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plan(prepared: _Prepared) -> Plan:
    """Return the unanswered units; failed ones are retried."""
    jobs = prepared.jobs
    done = {job.task.name: answered_ids(prepared.options.out / job.task.name / "shards") for job in jobs}
    probe = None if prepared.source.wants == "nothing" else prepared.decoders.layout_of
    made = plan(jobs, done, prepared.root, probe, prepared.source.cost)
    groups, total = len(made.units), sum(len(job.samples) for job in jobs)
    left = sum(map(len, made.units))
    say(f"{total} samples: {total - left} already answered, {left} to run ({groups} media groups)")
    return made


def _open_run(prepared: _Prepared, command: Sequence[str]) -> None:
    """Write run.json, or check that an existing run has the same settings.

    Raises:
        UsageError: its settings differ; names the first differences.
    """
    options = prepared.options
    described = prepared.model.describe()
    settings = described.pop("settings", {}) | identity(prepared.source, options.model, options.model_options)
    tasks = {job.task.name: task_settings(job, prepared.root, options.limit) for job in prepared.jobs}
    record = read_run(options.out) if has_record(options.out) else None
    if record:
        _refuse_other_settings(options.out, record.settings, {"model": settings, "tasks": tasks})
        tasks = record.tasks | tasks
    # Recorded and compared, but differences are accepted: a repaired image may be added to the same run.
    media = dict(record.settings.get("media", {})) if record else {}
    media |= {job.task.name: media_fingerprint(job, prepared.root) for job in prepared.jobs}
    all_settings = {"model": settings, "tasks": tasks, "media": media}
    hardware = {"machine": platform.machine(), "cores": _cores(), "device": described.get("device_name")}
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    launch = {
        "command": redact_command(command),
        "started": started,
        "ranks": prepared.ranks.world,
        "hardware": hardware,
    }
    named = {"name": options.model, **described}
    RunRecord(
        model={
            "tile_size": prepared.source.tile_size or prepared.selection.card.tile_size,
            **{key: redact(value) if isinstance(value, str) else value for key, value in named.items()},
        },
        card=card_reference(options.card),
        plugins=[str(Path(plugin).resolve()) for plugin in options.plugin],
        data_root=str(options.data_root.resolve()),
        fingerprint=fingerprint(all_settings),
        settings=all_settings,
        audit=record.audit if record else {},
        versions={"python": platform.python_version(), "evalkit": __version__}
        | {name: _version(name) for name in PACKAGES},
        launches=[*(record.launches if record else []), launch],
    ).write(options.out)


def _refuse_other_settings(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse changed settings of the model or of shared tasks; tasks may be added to a run."""
    shared = [name for name in new["tasks"] if name in old["tasks"]]
    sides = [{"model": side["model"], "tasks": {name: side["tasks"][name] for name in shared}} for side in (old, new)]
    changed = list(differences(sides[0], sides[1]))
    if changed:
        raise UsageError(
            f"run folder {out} holds a run with other settings ({listed(changed, 3)}); "
            "resume it with the same settings, or choose another --out"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:  # PackageNotFoundError
        return None


def _answer_and_finish(prepared: _Prepared, made: Plan, started: float) -> Ended:
    ranks, out = prepared.ranks, prepared.options.out
    counts = answer_units(
        made, prepared.jobs, ranks, prepared.model, prepared.source.wants, prepared.decoders, out,
        lambda task: out / task / "shards", prepared.options.lease,
    )  # fmt: skip
    if counts is None:
        return Ended(0, None)
    code = _finish(prepared, {"seconds": round(time.time() - started, 3), **counts})
    ranks.close()
    return Ended(code, prepared.selection.card)


def answer_units(
    made: Plan,
    jobs: Sequence[Job],
    ranks: Ranks,
    model: Model,
    wants: Wants,
    decoders: Decoders,
    out: Path,
    shards: Callable[[str], Path],
    lease: float,
) -> dict[str, int] | None:
    """Answer the planned units together with the other ranks.

    Args:
        made: the plan.
        jobs: the tasks.
        ranks: the job's processes.
        model: answers.
        wants: what the model looks at.
        decoders: decode the media.
        out: the run folder, for heartbeats.
        shards: the folder of a task's shards.
        lease: seconds without heartbeat before other ranks take over.

    Returns:
        The counts of all ranks on the one rank that finishes the run; None on the others.
    """
    from evalkit.inference.progress import Progress
    from evalkit.inference.queue import WorkQueue
    from evalkit.inference.worker import AHEAD, work

    units = made.units
    requests = {job.task.name: job.requests for job in jobs}

    def name(unit: int) -> str:
        first, index = units[unit][0]
        request = requests[first][index]
        return f"{request.views[0].media.path if request.views else first} ({first} {request.id})"

    queue = WorkQueue(ranks, made.costs, lease, name, f"process {os.getpid()} on {platform.node()}", say)
    totals = {job.task.name: len(job.samples) for job in jobs}
    progress = Progress(totals, Counter(task for unit in units for task, _ in unit), ranks, out)
    ahead = min(MOST_AHEAD, max(AHEAD, _cores() // ranks.local_world))
    work(units, requests, model, wants, decoders, shards, ranks.rank, queue, progress, ahead)
    leader = queue.leads()
    counts = progress.share()
    progress.close()
    return counts if leader else None


def _finish(prepared: _Prepared, launch: dict[str, Any]) -> int:
    """Merge the shards, score, write the results; report what is incomplete."""
    out = prepared.options.out
    answered = []
    previous = judges_of(out) if any(job.task.judge for job in prepared.jobs) else {}
    for job in prepared.jobs:
        responses = read_shards(out / job.task.name / "shards")
        write_predictions(out / job.task.name, job.samples, responses)
        plain = Answered(job.task, job.samples, responses)
        answered.append(with_judgements(out, plain, previous=previous.get(job.task.name)))
    record = read_run(out)
    record.launches[-1] |= launch
    reference = prepared.model.reference() if prepared.options.audit else None
    if prepared.options.audit and reference is None:
        say(f"--audit: nothing to audit, {prepared.options.model} has no reference engine")
    if reference:
        by_task = {item.task.name: item.responses for item in answered}
        record.audit |= audit(
            reference, prepared.jobs, by_task, prepared.decoders, prepared.options.audit, prepared.source.wants
        )
    record.write(out)
    scores = write_results(out, answered)
    notes = "".join(f"note: {note}\n" for note in RunFolder(out, prepared.selection.card).notes)
    say(f"{score_lines(scores)}{notes}".rstrip())
    return report_gaps(scores, prepared.selection.missing, out, before_judging=True)
