"""Models that answer requests, and how ``--model`` names them."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from evalkit.errors import UsageError, first_line
from evalkit.redact import redact

if TYPE_CHECKING:
    from evalkit.models.base import Source

# The scheme of a name without one.
DEFAULT_SCHEME = "checkpoint"
_GROUP = "evalkit.models"


def find_model(name: str, options: Mapping[str, Any] | None = None, plugins: Sequence[str] = ()) -> Source:
    """Return the source that ``--model`` names: ``SCHEME:REST``, or a checkpoint.

    Args:
        name: as the user typed it.
        options: the source's options by name, values as texts or of their type.
        plugins: plugin files; their ``MODELS`` add schemes.

    Raises:
        UsageError: an unknown scheme or option, an unusable value, or a source that cannot be found.
    """
    known: dict[str, Callable[[str, Any], Source] | str] = {}
    for defined, where, source in _schemes(plugins):
        if defined in known:
            raise UsageError(f"{where}: model scheme {defined!r} is already defined")
        known[defined] = source
    scheme, colon, rest = name.partition(":")
    if not colon or Path(name).exists():
        scheme, rest = DEFAULT_SCHEME, name
    elif scheme not in known:
        raise UsageError(f"model {name!r}: unknown scheme {scheme!r}; known: {', '.join(sorted(known))}")
    named = known[scheme]
    make = pkgutil.resolve_name(named) if isinstance(named, str) else named
    return make(rest, _checked(scheme, getattr(make, "options", None), options or {}))


def identity(source: Source, name: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Return what tells a source from others: its fingerprint, or else its name and options.

    Args:
        source: the source.
        name: as the user typed it.
        options: its options, as given.
    """
    chosen = {key: redact(value) for key, value in options.items()}
    return source.fingerprint() or {"name": redact(name), "options": chosen}


def load_model(path: str, **options: Any) -> Any:
    """Load a model for use from Python; a checkpoint has the model card's ``batch_chat`` and a ``tokenizer``.

    Args:
        path: a checkpoint folder in the official layout, a Hub id, or ``SCHEME:REST``.
        options: the source's options, as ``-M`` sets them on the command line: for a checkpoint ``device``, ``dtype``,
            ``attention``, ``engine`` and ``memory_fraction``.

    Raises:
        UsageError: the checkpoint, the device or an option cannot be used.
    """
    from evalkit.models.base import LocalRank

    return find_model(path, options).open(LocalRank())


def _schemes(plugins: Sequence[str]) -> Iterator[tuple[str, str, Callable[[str, Any], Source] | str]]:
    """Yield each scheme, where it is defined, and its source factory or the factory's name."""
    from evalkit.plugins import load_point, module_of

    for module in pkgutil.iter_modules(__path__):
        yield from _models_of(import_module(f"{__name__}.{module.name}"), module.name)
    for point in entry_points(group=_GROUP):
        yield point.name, f"entry point {point.name}", load_point(point)
    for plugin in dict.fromkeys(str(Path(plugin).resolve()) for plugin in plugins):
        yield from _models_of(module_of(Path(plugin)), plugin)


def _models_of(module: ModuleType, where: str) -> Iterator[tuple[str, str, Callable[[str, Any], Source] | str]]:
    models = getattr(module, "MODELS", {})
    if not isinstance(models, Mapping) or not all(isinstance(scheme, str) for scheme in models):
        raise UsageError(f"{where}: MODELS maps schemes to sources, {{'scheme': Source}}")
    yield from ((scheme, where, source) for scheme, source in models.items())


def _checked(scheme: str, kind: type | None, given: Mapping[str, Any]) -> Any:
    """Return an instance of a source's options dataclass."""
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    from evalkit.models.base import NoOptions

    kind = kind or NoOptions
    known = [item.name for item in fields(kind)]
    for key in given:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"unknown option {key!r} for {scheme}{hint} (its options: {', '.join(known) or 'none'})")
    try:
        return TypeAdapter(kind).validate_python(dict(given))
    except (PydanticUserError, NameError) as error:  # its annotations cannot be resolved
        raise UsageError(f"{scheme}: its options cannot be checked: {first_line(error)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{scheme}: option {key!r}: {first['msg']} (got {str(first['input'])[:60]!r})") from error
