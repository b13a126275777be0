"""Finds the benchmark plugins: the ``tasks/`` folder, the entry points ``evalkit.tasks`` and ``--plugin`` files."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.task import Task

_NAME = re.compile(r"[A-Za-z0-9][\w+.-]*")


def shipped(folder: str) -> Path:
    """Return a data folder of the project: beside the package in a checkout, inside it in an installed wheel."""
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
        _add(tasks, _tasks_of_file(file), str(file))
    for point in entry_points(group="evalkit.tasks"):
        try:
            found = point.load()
        except Exception as error:
            raise UsageError(f"entry point {point.name} ({point.value}) cannot be loaded: {error!r}") from error
        _add(tasks, found, f"entry point {point.name}")
    for plugin in plugins:
        _add(tasks, _tasks_of_file(Path(plugin)), plugin)
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
            raise UsageError(f"unknown task {name!r}; known are e.g. {', '.join(near)} (all: evalkit tasks)")
        chosen.append(tasks[name])
    return chosen


def _tasks_of_file(file: Path) -> object:
    spec = importlib.util.spec_from_file_location(f"evalkit_plugin_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"plugin {file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a plugin is foreign code: whatever it raises is its author's to mend
        raise UsageError(f"plugin {file} cannot be loaded: {error!r}") from error
    return getattr(module, "TASKS", None)


def _add(tasks: dict[str, Task], found: object, source: str) -> None:
    if not isinstance(found, (tuple, list)) or not all(isinstance(task, Task) for task in found):
        raise UsageError(f"{source}: a plugin defines TASKS, a tuple of evalkit.task.Task")
    for task in found:
        if not _NAME.fullmatch(task.name) or task.name.endswith((".json", ".md")):  # it names a folder of the run
            raise UsageError(f"{source}: task name {task.name!r} may hold letters, digits and _ + . - only")
        if task.name in tasks:
            raise UsageError(f"{source}: task {task.name!r} is already defined")
        tasks[task.name] = task
