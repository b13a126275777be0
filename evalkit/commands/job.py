"""A run from options to scores: prepare, answer, merge, score."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evalkit import __version__
from evalkit.card import Card, load_card
from evalkit.commands.audit import audit
from evalkit.commands.results import Answered, RunFolder, read_run, score_lines, write_results
from evalkit.data.root import DataRoot
from evalkit.errors import EvalkitError, IncompleteError, UsageError
from evalkit.media.decoder import LIMIT_S, Decoders
from evalkit.models import MEMORY_FRACTION
from evalkit.records import Outcome
from evalkit.redact import redact, redact_command
from evalkit.registry import choose, load_tasks
from evalkit.requests import build_requests, recipe_for
from evalkit.run.lock import RunLock
from evalkit.run.plan import Job, Plan, plan
from evalkit.run.settings import checkpoint_sha256, differences, fingerprint, media_fingerprint, task_settings
from evalkit.run.store import answered_ids, read_shards, write_json, write_predictions
from evalkit.scoring import check_labels
from evalkit.task import Task

if TYPE_CHECKING:
    from evalkit.models.base import Model
    from evalkit.run.ranks import Ranks

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pillow", "decord", "av")
DEFAULT_CARD = "internvl2"
# Decoders of a rank at most.
MOST_AHEAD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of ``evalkit run``, as given.

    Attributes:
        memory_fraction: share of the device's memory that the job may use.
        lease: seconds without a sign of life after which the other ranks take a rank's work.
        media_timeout: seconds that decoding one file may take.
        trust_remote_code: accepted and not needed: see ``_say_what_is_not_run``.
    """

    model: str
    data_root: Path
    out: Path
    card: str | None = None
    tasks: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    limit: int | None = None
    engine: str = "grouped"
    dtype: str = "auto"
    device: str = "auto"
    attention: str = "sdpa"
    audit: int = 0
    memory_fraction: float = MEMORY_FRACTION
    lease: float = 600.0
    media_timeout: float = LIMIT_S
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """The tasks of a run and what of them is missing on disk.

    Attributes:
        card: the card whose recipes apply.
        tasks: tasks with data.
        missing: absent data files of the tasks that were asked for.
        skipped: tasks of the card that have no data.
    """

    card: Card
    tasks: list[Task]
    missing: list[str]
    skipped: list[str]


def say(text: str) -> None:
    """Write one line for people."""
    print(text, file=sys.stderr, flush=True)


def select(card_name: str | None, names: Sequence[str], plugins: Sequence[str], root: DataRoot) -> Selection:
    """Return the tasks asked for whose data is present.

    ``--tasks`` asks for each task by name; a card asks for its rows, as far as their data is present.

    Raises:
        UsageError: an unknown task or card.
        IncompleteError: no task asked for has data; lists what is missing.
    """
    card = load_card(card_name or DEFAULT_CARD)
    known = load_tasks(plugins)
    wanted = choose(known, names) if names else [known[name] for name in card.tasks() if name in known]
    chosen, missing, skipped = [], [], []
    for task in wanted:
        absent = root.missing(task.files)
        usable = not absent or (task.parts and len(absent) < len(task.files))
        if usable:
            chosen.append(task)
        if absent and (names or usable):
            missing += [f"{path} ({task.name})" for path in absent]
        elif absent:
            skipped.append(task.name)
    if not chosen:
        needed = missing or [f"{path} ({task.name})" for task in wanted for path in root.missing(task.files)]
        raise IncompleteError(f"no data under {root.given} for any task asked for; missing: {listed(needed)}")
    return Selection(card, chosen, missing, skipped)


def say_skipped(selection: Selection) -> None:
    """Say which rows of the card are left out."""
    if selection.skipped:
        say(f"skipped, no data for: {', '.join(selection.skipped)}")


def listed(items: Sequence[str], shown: int = 5) -> str:
    """Return the first items and the number of the others."""
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more


def build_jobs(selection: Selection, root: DataRoot, limit: int | None, tile_size: int) -> list[Job]:
    """Read the samples of the selected tasks and apply the card's recipes."""
    jobs = []
    for task in selection.tasks:
        samples = list(task.load(root))[:limit]
        check_labels(task, samples)  # before hours of inference rather than after
        recipe = recipe_for(task, selection.card.recipe(task.name), selection.card.name)
        jobs.append(Job(task, recipe, samples, build_requests(task, samples, recipe, root, tile_size)))
    return jobs


def tile_size_of(model: str, card: Card) -> int:
    """Return the tile size of a checkpoint; the card's for a model that does not say."""
    if model.startswith("replay:"):
        return card.tile_size
    from evalkit.models.internvl2.config import read_config, resolve_checkpoint

    return read_config(resolve_checkpoint(model)).tile_size


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Everything a rank needs before it may answer."""

    options: RunOptions
    ranks: Ranks
    root: DataRoot
    selection: Selection
    jobs: list[Job]
    model: Model
    decoders: Decoders


class Ended(NamedTuple):
    """How a rank leaves: its exit code, and whether it is the one that finished the run."""

    code: int
    leader: bool


def execute(options: RunOptions, ranks: Ranks, command: Sequence[str]) -> Ended:
    """Run or continue a job on this rank; one rank, usually rank 0, merges and scores.

    Raises:
        EvalkitError: on rank 0 for every error of the preparation; the other ranks leave silently with its code.
    """
    started = time.time()
    lock = RunLock(options.out)
    with ExitStack() as stack:
        stack.callback(lock.close)
        prepared = _prepare_together(options, ranks, command, lock, stack)
        return Ended(prepared, False) if isinstance(prepared, int) else _answer_and_finish(*prepared, started)


def _prepare_together(
    options: RunOptions, ranks: Ranks, command: Sequence[str], lock: RunLock, stack: ExitStack
) -> tuple[_Prepared, Plan] | int:
    """Return this rank's preparation and the plan, which rank 0 makes; or the code to leave with."""
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
        told = int(ranks.receive("plan").get("exit", 0))
        if not told:  # this rank alone failed
            say(f"evalkit (rank {ranks.rank}): {error}")
        return told or code
    message = ranks.receive("plan")
    if "exit" in message:
        return int(message["exit"])
    lock.join()
    return prepared, Plan([[(task, index) for task, index in unit] for unit in message["units"]], message["costs"])


def _prepare(options: RunOptions, ranks: Ranks, lock: RunLock) -> _Prepared:
    root = DataRoot(options.data_root)
    selection = select(options.card, options.tasks, options.plugins, root)
    jobs = build_jobs(selection, root, options.limit, tile_size_of(options.model, selection.card))
    if options.audit and options.model.startswith("replay:"):
        raise UsageError("--audit needs a checkpoint: recorded responses cannot be computed again")
    if ranks.rank == 0:
        say_skipped(selection)
        if not lock.claim():
            say(f"note: the file system of {options.out} has no locks: a second job there would not be noticed")
        _say_what_is_not_run(options)
    model = _open_model(options, ranks)
    return _Prepared(options, ranks, root, selection, jobs, model, Decoders(root, options.media_timeout))


def _say_what_is_not_run(options: RunOptions) -> None:
    """Say that ``--trust-remote-code`` has no effect: the architecture is evalkit's own, no file of a model is run."""
    if options.trust_remote_code:
        say("note: --trust-remote-code is not needed: evalkit has its own InternVL2 and runs no code of a checkpoint")


def _open_model(options: RunOptions, ranks: Ranks) -> Model:
    from evalkit.models import open_model

    device = options.device
    if not options.model.startswith("replay:"):
        import torch

        if device in ("auto", "cuda") and torch.cuda.is_available():
            device = f"cuda:{ranks.local_rank % torch.cuda.device_count()}"
        if ranks.local_world > 1:  # torchrun sets one thread; without it every rank would take all cores
            torch.set_num_threads(max(1, _cores() // ranks.local_world))
    return open_model(
        options.model, device, options.dtype, options.attention, options.engine, options.memory_fraction,
        ranks.local_world,
    )  # fmt: skip


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plan(prepared: _Prepared) -> Plan:
    """Return the units without an answer; those that failed before are asked again."""
    jobs = prepared.jobs
    done = {job.task.name: answered_ids(prepared.options.out / job.task.name) for job in jobs}
    probe = prepared.decoders.layout_of if prepared.model.needs_media else None
    made = plan(jobs, done, prepared.root, probe)
    groups, total = len(made.units), sum(len(job.samples) for job in jobs)
    open_samples = sum(map(len, made.units))
    say(f"{total} samples, {total - open_samples} answered before; {open_samples} to ask in {groups} media groups")
    return made


def _open_run(prepared: _Prepared, command: Sequence[str]) -> None:
    """Write run.json, or check that a run found there has the same settings.

    Raises:
        UsageError: it has others; names the first differences.
    """
    options = prepared.options
    described = prepared.model.describe()
    settings = described.pop("settings")
    if prepared.model.needs_media:
        from evalkit.models.internvl2.config import resolve_checkpoint

        settings["checkpoint"] = checkpoint_sha256(resolve_checkpoint(options.model))
    tasks = {job.task.name: task_settings(job, prepared.root, options.limit) for job in prepared.jobs}
    record = read_run(options.out) if (options.out / "run.json").exists() else {}
    if record:
        _refuse_other_settings(options.out, record["settings"], {"model": settings, "tasks": tasks})
        tasks = record["settings"]["tasks"] | tasks
    # Recorded and compared, but no reason to refuse: a mended image may be asked about in the same run.
    media = record.get("settings", {}).get("media", {})
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
    write_json(
        options.out / "run.json",
        {
            "model": {
                "tile_size": tile_size_of(options.model, prepared.selection.card),
                **{
                    key: redact(value) if isinstance(value, str) else value
                    for key, value in {"name": options.model, **described}.items()
                },
            },
            "card": card_reference(options.card),
            "plugins": [str(Path(plugin).resolve()) for plugin in options.plugins],
            "data_root": str(options.data_root.resolve()),
            "fingerprint": fingerprint(all_settings),
            "settings": all_settings,
            "audit": record.get("audit", {}),
            "versions": {"python": platform.python_version(), "evalkit": __version__}
            | {name: _version(name) for name in PACKAGES},
            "launches": [*record.get("launches", []), launch],
        },
    )


def card_reference(card: str | None) -> str:
    """Return how run.json names a card, so that it is found from any folder."""
    path = Path(card or DEFAULT_CARD)
    return str(path.resolve()) if path.is_file() else str(path)


def _refuse_other_settings(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Compare the model and the tasks that both have; tasks may be added to a run."""
    shared = [name for name in new["tasks"] if name in old["tasks"]]
    sides = [{"model": side["model"], "tasks": {name: side["tasks"][name] for name in shared}} for side in (old, new)]
    changed = list(differences(sides[0], sides[1]))
    if changed:
        raise UsageError(
            f"run folder {out} holds a run with other settings ({listed(changed, 3)}); "
            "continue with the same ones, or choose another --out"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:  # PackageNotFoundError
        return None


def _answer_and_finish(prepared: _Prepared, made: Plan, started: float) -> Ended:
    from evalkit.run.progress import Progress
    from evalkit.run.queue import WorkQueue
    from evalkit.run.worker import AHEAD, work

    ranks, options, units = prepared.ranks, prepared.options, made.units
    requests = {job.task.name: job.requests for job in prepared.jobs}

    def name(unit: int) -> str:
        first, index = units[unit][0]
        request = requests[first][index]
        return f"{request.views[0].media.path if request.views else first} ({first} {request.id})"

    me = f"process {os.getpid()} on {platform.node()}"
    queue = WorkQueue(ranks, made.costs, options.lease, name, me, say)
    totals = {job.task.name: len(job.samples) for job in prepared.jobs}
    progress = Progress(totals, Counter(task for unit in units for task, _ in unit), ranks, options.out)
    ahead = min(MOST_AHEAD, max(AHEAD, _cores() // ranks.local_world))
    work(units, requests, prepared.model, prepared.decoders, options.out, ranks.rank, queue, progress, ahead)
    leader = queue.leads()
    counts = progress.share()
    progress.close()
    if not leader:
        return Ended(0, False)
    code = _finish(prepared, {"seconds": round(time.time() - started, 3), **counts})
    ranks.close()
    return Ended(code, True)


def _finish(prepared: _Prepared, launch: dict[str, Any]) -> int:
    """Merge the shards, score, write the results; say what is incomplete."""
    out = prepared.options.out
    answered = []
    for job in prepared.jobs:
        responses = read_shards(out / job.task.name / "shards")
        write_predictions(out / job.task.name, job.samples, responses)
        answered.append(Answered(job.task, job.samples, responses))
    record = read_run(out)
    record["launches"][-1] |= launch
    reference = prepared.model.reference() if prepared.options.audit else None
    if reference:
        by_task = {item.task.name: item.responses for item in answered}
        found = audit(reference, prepared.jobs, by_task, prepared.decoders, prepared.options.audit)
        record["audit"] = record.get("audit", {}) | found
    write_json(out / "run.json", record)
    _, scores = write_results(out, prepared.selection.card, answered)
    notes = "".join(f"note: {note}\n" for note in RunFolder(out, prepared.selection.card).notes)
    say(f"{score_lines(scores)}{notes}the card's tables: {out / 'card.md'}")
    return report_gaps(scores, prepared.selection.missing, out)


def report_gaps(scores: dict[str, Any], missing: Sequence[str], out: Path | None) -> int:
    """Say what is incomplete; return the exit code 0 or 3."""
    failed = {
        name: {kind: count for kind, count in summary["outcomes"].items() if Outcome(kind).failed and count}
        for name, summary in scores.items()
    }
    gaps = [
        f"{name}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()) for name, kinds in failed.items() if kinds
    ]
    if gaps:
        where = f" (reasons in {out}/<task>/scores.jsonl)" if out else ""
        say(f"incomplete: samples without an answer count wrong: {'; '.join(gaps)}{where}")
    if missing:
        say(f"incomplete: data files are missing: {listed(missing)}")
    return IncompleteError.exit_code if gaps or missing else 0
