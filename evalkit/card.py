"""Model cards as data: each row's recipe and published numbers, read from ``configs/cards/``."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from evalkit.errors import InputError
from evalkit.records import Recipe
from evalkit.registry import shipped

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PublishedModel(_Strict):
    """A column of published numbers.

    Attributes:
        name: as the card prints it.
        size_b: billions of parameters, as the card prints it.
    """

    name: str
    size_b: float | None = None


def _checked(recipe: Recipe) -> Recipe:
    """Refuse prompts that could not be filled in."""
    for key, allowed in (("prompt", {"media", "question"}), ("media_prompt", {"i"})):
        try:
            parts = list(string.Formatter().parse(getattr(recipe, key)))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
        used = {name for _, name, _, _ in parts if name is not None}
        if any(spec or conversion for _, _, spec, conversion in parts):
            raise ValueError(f"{key}: placeholders take no format")
        if used - allowed:
            raise ValueError(f"{key}: unknown {{{min(used - allowed)}}}; allowed: {sorted(allowed)}")
    if "{question}" not in recipe.prompt:
        raise ValueError("prompt: holds no {question}")
    for key, least in (("max_tiles", 1), ("max_new_tokens", 1), ("min_new_tokens", 0), ("frames", 0)):
        if getattr(recipe, key) < least:
            raise ValueError(f"{key}: must be at least {least}")
    return recipe


class Row(_Strict):
    """One benchmark of the card.

    Attributes:
        id: unique in the card.
        label: as the card prints it.
        metric: what the numbers are.
        toolkit: what the card's authors ran.
        tasks: the score is the plain mean of these tasks' scores.
        published: model name -> number; None is the card's "-".
        decimals: digits after the point that the card prints.
        maximum: largest possible score.
        also: tasks that are asked the same way and are no row of the card.
        recipe: how its tasks are asked; None where the row is no benchmark of its own.
        note: what a reader must know beside the number.
        flags: ids of the card's discrepancies that touch this row.
    """

    id: str
    label: str
    metric: str
    toolkit: str
    tasks: list[str] = Field(min_length=1)
    published: dict[str, float | int | None]
    decimals: int = Field(default=1, ge=0, le=6)
    maximum: int = Field(default=100, gt=0)
    also: list[str] = []
    recipe: Annotated[Recipe, AfterValidator(_checked)] | None = None
    note: str | None = None
    flags: list[str] = []


class Table(_Strict):
    """One table of the card.

    Attributes:
        id: unique in the card.
        title: its heading.
        models: the published models, in the card's order.
        rows: the benchmarks, in the card's order.
        models_as_rows: whether the card prints models as rows and benchmarks as columns.
    """

    id: str
    title: str
    models: list[PublishedModel]
    rows: list[Row]
    models_as_rows: bool = False


class Flag(_Strict):
    """A discrepancy in the published numbers."""

    id: str
    detail: str


class Card(_Strict):
    """A model card.

    Attributes:
        name: what ``--card`` takes.
        title: its heading.
        model: the published model whose card it is; differences are taken to its numbers.
        parameters: number of parameters of that model.
        tile_size: side of a tile in pixels, where no checkpoint says it.
        source: where the numbers and recipes come from.
        tables: its tables.
        flags: discrepancies in the published numbers.
        logs: numbers with more digits that the official evaluation guide prints, by model.
    """

    name: str
    title: str
    model: str
    parameters: int
    tile_size: int = Field(gt=0)
    source: str
    tables: list[Table]
    flags: list[Flag] = []
    logs: dict[str, Any] = {}

    def rows(self) -> Iterator[Row]:
        """Yield all rows in card order."""
        for table in self.tables:
            yield from table.rows

    def recipe(self, task: str) -> Recipe | None:
        """Return how a task is asked; None where no row lists it."""
        return next((row.recipe for row in self.rows() if row.recipe and task in (*row.tasks, *row.also)), None)

    def rows_of(self, task: str) -> list[str]:
        """Return the ids of the rows whose score a task is part of."""
        return [row.id for row in self.rows() if task in row.tasks]

    def tasks(self) -> list[str]:
        """Return the tasks of all rows, in card order."""
        return list(dict.fromkeys(task for row in self.rows() for task in row.tasks))


def load_card(name: str) -> Card:
    """Read a card by its name, or from a YAML file.

    Raises:
        InputError: there is no such card, or it is wrong; says file, line, key and what is allowed.
    """
    folder = shipped("configs") / "cards"
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        raise InputError(f"card {name!r}: {path}: {reason}; known cards: {known}, or give a .yaml file") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        node = yaml.compose(text, Loader=loader)
        _refuse_twins(node, path)
        # As JSON: strict types, and yet a mapping may become the Recipe dataclass.
        card = Card.model_validate_json(json.dumps(yaml.load(text, Loader=loader), default=str))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{path}:{line}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply") from error
    except ValidationError as error:
        _report(error, node, path)
    _check(card, path)
    return card


def _refuse_twins(node: yaml.Node | None, path: Path) -> None:
    """Refuse a key that stands twice in a mapping: YAML would keep the last one silently."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key.value, str):
                raise InputError(f"{path}:{key.start_mark.line + 1}: a key must be a plain text")
            if key.value in seen:
                raise InputError(f"{path}:{key.start_mark.line + 1}: key {key.value!r} occurs twice")
            seen.add(key.value)
            _refuse_twins(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_twins(value, path)


def _report(error: ValidationError, node: yaml.Node | None, path: Path) -> NoReturn:
    """Raise the first error with its line, key and the allowed keys."""
    # A misspelt key shows twice, as unknown and as missing; the unknown one says more.
    first = min(error.errors(), key=lambda item: item["type"] not in UNKNOWN_KEY)
    place = [part for part in first["loc"] if part not in ("function-after[_checked(), Recipe]", "float", "int")]
    key, line = _locate(node, place)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in UNKNOWN_KEY:
        allowed = _allowed(place[:-1])
        near = get_close_matches(str(place[-1]), allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        message = f"unknown key; {hint}allowed: {', '.join(allowed)}"
    elif first["type"] not in ("missing", "missing_argument", "value_error"):
        message += f" (it is {str(first['input'])[:60]!r})"
    raise InputError(f"{path}:{line}: {key or 'card'}: {message}") from error


def _locate(node: yaml.Node | None, place: Sequence[int | str]) -> tuple[str, int]:
    """Return the dotted key and the 1-based line of a place in the document."""
    line = 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return ".".join(str(part) for part in place), line


def _allowed(place: Sequence[int | str]) -> list[str]:
    """Return the keys that a mapping at this place may have."""
    model: Any = Card
    for part in place:
        if isinstance(part, str):
            kinds = [model.model_fields[part].annotation]
            while kinds and not (
                isinstance(kinds[0], type) and (kinds[0] is Recipe or issubclass(kinds[0], BaseModel))
            ):
                kinds = [*get_args(kinds[0]), *kinds[1:]]
            model = kinds[0]
    return [item.name for item in fields(Recipe)] if model is Recipe else list(model.model_fields)


def _check(card: Card, path: Path) -> None:
    """Check what a single key cannot show: unique ids, one recipe per task, known models and flags."""
    for what, ids in (
        ("table", [table.id for table in card.tables]),
        ("row", [row.id for row in card.rows()]),
        ("flag", [flag.id for flag in card.flags]),
    ):
        twin = next((item for item in ids if ids.count(item) > 1), None)
        if twin:
            raise InputError(f"{path}: {what} id {twin!r} occurs twice")
    recipes: dict[str, Recipe] = {}
    for table in card.tables:
        names = [model.name for model in table.models]
        for row in table.rows:
            unknown = [name for name in row.published if name not in names]
            unknown += [flag for flag in row.flags if flag not in [item.id for item in card.flags]]
            if unknown:
                raise InputError(
                    f"{path}: row {row.id}: {unknown[0]!r} is no model of its table and no flag of the card"
                )
            for task in (*row.tasks, *row.also) if row.recipe else ():
                if recipes.setdefault(task, row.recipe) != row.recipe:  # type: ignore[arg-type]  # not None here
                    raise InputError(f"{path}: row {row.id}: task {task!r} has another recipe in an earlier row")
