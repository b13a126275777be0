"""A run from options to scores: prepare, answer, merge, score."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.card import Card, load_card
from evalkit.commands.results import Answered, read_run, write_results
from evalkit.data.root import DataRoot
from evalkit.errors import EvalkitError, IncompleteError, InputError
from evalkit.records import Outcome
from evalkit.registry import choose, load_tasks
from evalkit.requests import build_requests, recipe_for
from evalkit.run.plan import Job, Unit, plan
from evalkit.run.settings import checkpoint_sha256, differences, fingerprint, task_settings
from evalkit.run.store import read_shards, write_json, write_predictions
from evalkit.task import Task

if TYPE_CHECKING:
    from evalkit.models.base import Model
    from evalkit.run.ranks import Ranks

PACKAGES = ("evalkit", "torch", "transformers", "tokenizers", "numpy", "pillow", "decord", "av")
DEFAULT_CARD = "internvl2"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of ``evalkit run``, as given."""

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


@dataclass(frozen=True, slots=True)
class Selection:
    """The tasks of a run and what of them is missing on disk.

    Attributes:
        card: the card whose recipes apply.
        tasks: tasks with data.
        missing: absent data files of the tasks that were asked for.
    """

    card: Card
    tasks: list[Task]
    missing: list[str]


def say(text: str) -> None:
    """Write one line for people."""
    print(text, file=sys.stderr, flush=True)


def select(card_name: str | None, names: Sequence[str], plugins: Sequence[str], root: DataRoot) -> Selection:
    """Return the tasks asked for whose data is present.

    ``--tasks`` asks for each task by name; a card asks for its rows, as far as their data is present.

    Raises:
        InputError: an unknown task or card.
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
    if skipped:
        say(f"skipped, no data under {root.given}: {', '.join(skipped)}")
    return Selection(card, chosen, missing)


def listed(items: Sequence[str], shown: int = 5) -> str:
    """Return the first items and the number of the others."""
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more


def build_jobs(selection: Selection, root: DataRoot, limit: int | None, tile_size: int) -> list[Job]:
    """Read the samples of the selected tasks and apply the card's recipes."""
    jobs = []
    for task in selection.tasks:
        samples = list(task.load(root))[:limit]
        recipe = recipe_for(task, selection.card.recipe(task.name), selection.card.name)
        jobs.append(Job(task, recipe, samples, build_requests(task, samples, recipe, root, tile_size)))
    return jobs


def tile_size_of(model: str, card: Card) -> int:
    """Return the tile size of a checkpoint; the card's for a model that does not say."""
    if model.startswith("replay:"):
        return card.tile_size
    from evalkit.models.internvl2.config import read_config, resolve_checkpoint

    return read_config(resolve_checkpoint(model)).tile_size


def execute(options: RunOptions, ranks: Ranks, command: Sequence[str]) -> int:
    """Run or continue a job on this rank; rank 0 merges, scores and returns the exit code.

    Raises:
        EvalkitError: on rank 0 for every error of the preparation; the other ranks leave silently with its code.
    """
    started = time.time()
    root = DataRoot(options.data_root)
    try:
        selection = select(options.card, options.tasks, options.plugins, root)
        jobs = build_jobs(selection, root, options.limit, tile_size_of(options.model, selection.card))
        model = _open(options, ranks)
        units = _agree(options, ranks, selection, jobs, root, model, command)
    except EvalkitError as error:
        if ranks.rank == 0:
            ranks.publish("plan", {"exit": error.exit_code})
            raise
        return int(ranks.receive("plan").get("exit", 0)) or _fail(error, ranks)
    except SystemExit as stop:  # rank 0 found an error
        return int(stop.code or 0)
    counts = _answer(units, jobs, model, root, options.out, ranks)
    if ranks.rank:
        return 0
    return _finish(options.out, selection, jobs, {"seconds": round(time.time() - started, 3), **counts})


def _fail(error: EvalkitError, ranks: Ranks) -> int:
    say(f"evalkit (rank {ranks.rank}): {error}")
    return error.exit_code


def _open(options: RunOptions, ranks: Ranks) -> Model:
    from evalkit.models import open_model

    device = options.device
    if not options.model.startswith("replay:"):
        import torch

        if device in ("auto", "cuda") and torch.cuda.is_available():
            device = f"cuda:{ranks.local_rank % torch.cuda.device_count()}"
        if ranks.local_world > 1:  # torchrun sets one thread; without it every rank would take all cores
            torch.set_num_threads(max(1, _cores() // ranks.local_world))
    return open_model(options.model, device, options.dtype, options.attention, options.engine)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _agree(
    options: RunOptions,
    ranks: Ranks,
    selection: Selection,
    jobs: list[Job],
    root: DataRoot,
    model: Model,
    command: Sequence[str],
) -> list[Unit]:
    """Return the plan: made by rank 0, which also opens the run folder, and received by the others."""
    if ranks.rank:
        message = ranks.receive("plan")
        if "exit" in message:
            raise SystemExit(message["exit"])
        return [[(task, index) for task, index in unit] for unit in message["units"]]
    _open_run(options, ranks, selection, jobs, root, model, command)
    done = {
        job.task.name: {
            response.id
            for response in read_shards(options.out / job.task.name / "shards").values()
            if not response.outcome.failed
        }
        for job in jobs
    }
    units = plan(jobs, done, root)
    open_samples, total = sum(map(len, units)), sum(len(job.samples) for job in jobs)
    say(f"{total} samples, {total - open_samples} answered before; {open_samples} to ask in {len(units)} media groups")
    ranks.publish("plan", {"units": units})
    return units


def _open_run(
    options: RunOptions,
    ranks: Ranks,
    selection: Selection,
    jobs: list[Job],
    root: DataRoot,
    model: Model,
    command: Sequence[str],
) -> None:
    """Write run.json, or check that a run found there has the same settings.

    Raises:
        InputError: it has others; names the first differences.
    """
    described = model.describe()
    settings = described.pop("settings")
    if model.needs_media:
        from evalkit.models.internvl2.config import resolve_checkpoint

        settings["checkpoint"] = checkpoint_sha256(resolve_checkpoint(options.model))
    tasks = {job.task.name: task_settings(job, root, options.limit) for job in jobs}
    record = read_run(options.out) if (options.out / "run.json").exists() else {}
    if record:
        old = {
            "model": record["settings"]["model"],
            "tasks": {k: v for k, v in record["settings"]["tasks"].items() if k in tasks},
        }
        new = {"model": settings, "tasks": {k: v for k, v in tasks.items() if k in old["tasks"]}}
        changed = list(differences(old, new))
        if changed:
            raise InputError(
                f"run folder {options.out} holds a run with other settings ({listed(changed, 3)}); "
                "continue with the same ones, or choose another --out"
            )
        tasks = record["settings"]["tasks"] | tasks
    all_settings = {"model": settings, "tasks": tasks}
    launch = {
        "command": list(command),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "ranks": ranks.world,
        "hardware": {"machine": platform.machine(), "cores": _cores(), "device": described.get("device_name")},
    }
    write_json(
        options.out / "run.json",
        {
            "model": {"name": options.model, **described},
            "card": selection.card.name if options.card is None else options.card,
            "plugins": list(options.plugins),
            "data_root": str(options.data_root.resolve()),
            "limit": options.limit,
            "fingerprint": fingerprint(all_settings),
            "settings": all_settings,
            "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
            "launches": [*record.get("launches", []), launch],
        },
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:  # PackageNotFoundError
        return None


def _answer(
    units: list[Unit], jobs: list[Job], model: Model, root: DataRoot, out: Path, ranks: Ranks
) -> dict[str, int]:
    from evalkit.run.progress import Progress
    from evalkit.run.worker import work

    progress = Progress(sum(map(len, units)), ranks)
    requests = {job.task.name: job.requests for job in jobs}
    work(units, requests, model, root, out, ranks, progress)
    for name, amount in progress.counts.items():
        ranks.count(name, amount)
    ranks.count("finished")
    if ranks.rank == 0:
        progress.wait_for_others()
    return {name: ranks.count(name, 0) for name in ("samples", "prompt_tokens", "output_tokens")}


def _finish(out: Path, selection: Selection, jobs: list[Job], launch: dict[str, Any]) -> int:
    """Merge the shards, score, write the results; say what is incomplete."""
    answered = []
    for job in jobs:
        responses = read_shards(out / job.task.name / "shards")
        write_predictions(out / job.task.name, job.samples, responses)
        answered.append(Answered(job.task, job.samples, responses))
    record = read_run(out)
    record["launches"][-1] |= launch
    write_json(out / "run.json", record)
    text, scores = write_results(out, selection.card, answered)
    say(text)
    return report_gaps(scores, selection.missing, out)


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
