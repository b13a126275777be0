"""Finds plugins: the ``tasks/`` folder, entry points and ``--plugin`` files, which hold ``TASKS`` and ``MODELS``."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from evalkit.errors import UsageError
from evalkit.task import Task

_NAME = re.compile(r"[A-Za-z0-9][\w+.-]*")


def shipped(folder: str) -> Path:
    """Return a data folder of the project: next to the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).parent
    installed = package / f"_{folder}"
    return installed if installed.is_dir() else package.parent / folder


def load_tasks(plugins: Sequence[str] = ()) -> dict[str, Task]:
    """Return every known task by name.

    Args:
        plugins: further plugin files.

    Raises:
        UsageError: a plugin cannot be loaded, or two define the same task.
    """
    tasks: dict[str, Task] = {}
    for file in sorted(shipped("tasks").glob("[a-z]*.py")):
        _add(tasks, getattr(module_of(file), "TASKS", None), str(file))
    for point in entry_points(group="evalkit.tasks"):
        _add(tasks, load_point(point), f"entry point {point.name}")
    for plugin in {str(Path(plugin).resolve()): plugin for plugin in plugins}.values():
        module = module_of(Path(plugin).resolve())
        if not hasattr(module, "TASKS") and not hasattr(module, "MODELS"):
            raise UsageError(f"{plugin}: a plugin must define TASKS, a tuple of evalkit.task.Task, or MODELS")
        _add(tasks, getattr(module, "TASKS", ()), plugin)
    return tasks


def choose(tasks: dict[str, Task], names: Iterable[str]) -> list[Task]:
    """Return the named tasks, each once.

    Raises:
        UsageError: an unknown name; lists the nearest known ones.
    """
    from difflib import get_close_matches

    chosen = []
    for name in dict.fromkeys(names):
        if name not in tasks:
            near = get_close_matches(name, tasks, n=3) or sorted(tasks)
            raise UsageError(f"unknown task {name!r}; known tasks include {', '.join(near)} (list all: evalkit tasks)")
        chosen.append(tasks[name])
    return chosen


def load_point(point: EntryPoint) -> Any:
    """Return the object that an entry point names.

    Raises:
        UsageError: it cannot be loaded.
    """
    try:
        return point.load()
    except Exception as error:  # third-party code: any exception is its author's to fix
        raise UsageError(f"entry point {point.name} ({point.value}) cannot be loaded: {error!r}") from error


@cache
def module_of(file: Path) -> ModuleType:
    """Return a plugin file as a module, loaded once.

    Raises:
        UsageError: it cannot be loaded.
    """
    spec = importlib.util.spec_from_file_location(f"evalkit_plugin_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"plugin {file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pydantic look annotations up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # as in load_point
        del sys.modules[spec.name]
        raise UsageError(f"plugin {file} cannot be loaded: {error!r}") from error
    return module


def _add(tasks: dict[str, Task], defined: object, source: str) -> None:
    if not isinstance(defined, (tuple, list)) or not all(isinstance(task, Task) for task in defined):
        raise UsageError(f"{source}: TASKS must be a tuple of evalkit.task.Task")
    for task in defined:
        if not _NAME.fullmatch(task.name) or task.name.endswith((".json", ".md")):  # names a folder of the run
            raise UsageError(f"{source}: task name {task.name!r} may only contain letters, digits and _ + . -")
        if task.name in tasks:
            raise UsageError(f"{source}: task {task.name!r} is already defined")
        tasks[task.name] = task
