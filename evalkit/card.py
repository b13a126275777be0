"""Model cards as data: each row's recipe and published numbers, read from ``configs/cards/``."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.errors import UsageError
from evalkit.plugins import shipped
from evalkit.records import Recipe

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")

# A card has a few thousand nodes. Aliases of aliases would make a small file larger than any memory.
MAX_NODES = 100_000
# PyYAML's C loader recurses with the document and would overflow the stack, which ends the process.
MAX_DEPTH = 50

# YAML knows .nan and .inf; neither is a score, and JSON output could not hold them.
Number = Annotated[float, Field(allow_inf_nan=False)]

Place = tuple[int | str, ...]


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


class Row(_Strict):
    """One benchmark of the card.

    Attributes:
        id: unique in the card.
        label: as the card prints it, its subscript set off by a space.
        metric: what the numbers are.
        toolkit: what the card's authors ran.
        tasks: the score is the plain mean of these tasks' scores.
        published: model name -> number; None is the card's "-".
        card_label: as the card prints it, letter by letter, where that is not the label.
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
    published: dict[str, Number | int | None]
    card_label: str | None = None
    decimals: int = Field(default=1, ge=0, le=6)
    maximum: int = Field(default=100, gt=0)
    also: list[str] = []
    recipe: Recipe | None = None
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
        UsageError: there is no such card, or it is wrong; says file, line, key and what is allowed.
    """
    folder = shipped("configs") / "cards"
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name with a NUL
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        reason = "not a UTF-8 text file" if isinstance(error, UnicodeError) else getattr(error, "strerror", str(error))
        raise UsageError(f"card {name!r}: {path}: {reason}; known cards: {known}, or give a .yaml file") from error
    node, content = _parse(text, path)
    try:
        # As JSON: strict types, and yet a mapping may become the Recipe dataclass.
        card = Card.model_validate_json(content)
    except ValidationError as error:
        _report(error, node, path)
    for place, problem in _problems(card):
        _refuse(node, path, place, problem)
    return card


def _parse(text: str, path: Path) -> tuple[yaml.Node, str]:
    """Return the node tree of a YAML document, which knows the lines, and its content as JSON."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    node: yaml.Node | None = None
    try:
        _refuse_depth(text, loader, path)
        node = yaml.compose(text, Loader=loader)
        if node is None:
            raise UsageError(f"{path}:1: card: the file is empty")
        _refuse_size(node, path)
        _refuse_keys(node, path)
        return node, json.dumps(yaml.load(text, Loader=loader), default=str)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{path}:{line}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise UsageError(f"{path}:1: card: nested too deeply") from error
    except ValueError as error:  # a date with a 13th month, a number of 5000 digits: PyYAML says no line
        raise UsageError(f"{path}:{_unreadable_line(node)}: a value that cannot be read: {error}") from error


def _unreadable_line(node: yaml.Node | None) -> int:
    """Return the 1-based line of the first scalar that PyYAML cannot turn into a value; 0 where there is none."""
    if isinstance(node, yaml.ScalarNode):
        try:
            yaml.SafeLoader("").construct_object(node)
        except ValueError:
            return int(node.start_mark.line) + 1
    parts = node.value if isinstance(node, yaml.CollectionNode) else []
    flat = [item for part in parts for item in (part if isinstance(part, tuple) else (part,))]
    return next((line for line in map(_unreadable_line, flat) if line), 0)


def _refuse_depth(text: str, loader: Any, path: Path) -> None:
    """Refuse a document nested deeper than ``MAX_DEPTH``, before anything recurses into it."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise UsageError(f"{path}:{line}: card: nested too deeply")


def _refuse_size(node: yaml.Node, path: Path) -> None:
    """Refuse a document that aliases make endless or larger than ``MAX_NODES``."""
    sizes: dict[int, int] = {}

    def size(part: yaml.Node) -> int:
        if not isinstance(part, yaml.CollectionNode):
            return 1
        if id(part) not in sizes:
            sizes[id(part)] = MAX_NODES  # what an alias to a mapping or list that is not finished counts
            inner = (item for entry in part.value for item in (entry if isinstance(entry, tuple) else (entry,)))
            sizes[id(part)] = 1 + sum(map(size, inner))
        if sizes[id(part)] > MAX_NODES:
            line = part.start_mark.line + 1
            raise UsageError(f"{path}:{line}: card: more than {MAX_NODES:,} values, aliases written out")
        return sizes[id(part)]

    size(node)


def _refuse_keys(node: yaml.Node, path: Path) -> None:
    """Refuse twin keys, of which YAML would silently keep the last, and merge keys, which hide a key's line."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key.value, str):
                raise UsageError(f"{path}:{key.start_mark.line + 1}: a key must be a plain text")
            if key.tag == "tag:yaml.org,2002:merge":
                raise UsageError(f"{path}:{key.start_mark.line + 1}: key '<<': merge keys are not allowed")
            if key.value in seen:
                raise UsageError(f"{path}:{key.start_mark.line + 1}: key {key.value!r} occurs twice")
            seen.add(key.value)
            _refuse_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_keys(value, path)


def _report(error: ValidationError, node: yaml.Node, path: Path) -> NoReturn:
    """Raise the first error with its line, key and the allowed keys."""
    # A misspelt key shows twice, as unknown and as missing; the unknown one says more.
    first = min(error.errors(), key=lambda item: item["type"] not in UNKNOWN_KEY)
    # Behind a published number's key stand the types that were tried: no keys of the file.
    place = tuple(part for part in first["loc"] if part not in ("int", "float", "constrained-float"))
    message = first["msg"]
    if first["type"] in UNKNOWN_KEY:
        allowed = _allowed(place[:-1])
        near = get_close_matches(str(place[-1]), allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        message = f"unknown key; {hint}allowed: {', '.join(allowed)}"
    elif first["type"] not in ("missing", "missing_argument"):
        message += f" (it is {str(first['input'])[:60]!r})"
    _refuse(node, path, place, message)


def _refuse(node: yaml.Node, path: Path, place: Place, message: str) -> NoReturn:
    """Raise an error with its file, line and dotted key."""
    key, line = _locate(node, place)
    raise UsageError(f"{path}:{line}: {key or 'card'}: {message}")


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
            kinds = [get_type_hints(model)[part]]
            while kinds and not (
                isinstance(kinds[0], type) and (is_dataclass(kinds[0]) or issubclass(kinds[0], BaseModel))
            ):
                kinds = [*get_args(kinds[0]), *kinds[1:]]
            model = kinds[0]
    return [item.name for item in fields(model)] if is_dataclass(model) else list(model.model_fields)


def _problems(card: Card) -> Iterator[tuple[Place, str]]:
    """Yield what a single key cannot show: twin ids, unknown names, lost numbers, unusable or clashing recipes."""
    if all(card.model != model.name for table in card.tables for model in table.models):
        yield ("model",), f"{card.model!r} is a model of none of the tables"
    yield from _twins(card)
    recipes: dict[str, tuple[str, Recipe]] = {}
    for place, table, row in _placed_rows(card):
        yield from ((place + part, problem) for part, problem in _row_problems(card, table, row))
        if row.recipe is None:
            continue
        yield from (((*place, "recipe", key), problem) for key, problem in _recipe_problems(row.recipe))
        for task in (*row.tasks, *row.also):
            earlier, recipe = recipes.setdefault(task, (row.id, row.recipe))
            if recipe != row.recipe:
                yield (*place, "recipe"), f"task {task!r} has another recipe in an earlier row ({earlier})"


def _placed_rows(card: Card) -> Iterator[tuple[Place, Table, Row]]:
    for t, table in enumerate(card.tables):
        for r, row in enumerate(table.rows):
            yield ("tables", t, "rows", r), table, row


def _twins(card: Card) -> Iterator[tuple[Place, str]]:
    """Yield the ids that occur twice."""
    placed: list[tuple[str, Place, str]] = [("table", ("tables", i), table.id) for i, table in enumerate(card.tables)]
    placed += [("row", place, row.id) for place, _, row in _placed_rows(card)]
    placed += [("flag", ("flags", i), flag.id) for i, flag in enumerate(card.flags)]
    seen: set[tuple[str, str]] = set()
    for what, place, name in placed:
        if (what, name) in seen:
            yield (*place, "id"), f"{what} id {name!r} occurs twice"
        seen.add((what, name))


def _row_problems(card: Card, table: Table, row: Row) -> Iterator[tuple[Place, str]]:
    models = [model.name for model in table.models]
    for name, value in row.published.items():
        if name not in models:
            yield ("published", name), f"no model of its table; its models: {', '.join(models)}"
        elif value is not None and not 0 <= value <= row.maximum:
            yield ("published", name), f"{value} is not within 0 and the row's maximum, {row.maximum}"
    for name in models:
        if name not in row.published:
            yield ("published",), f"no number for {name!r}; null where the card prints none"
    flags = [flag.id for flag in card.flags]
    for place, flag in enumerate(row.flags):
        if flag not in flags:
            yield ("flags", place), f"{flag!r} is no flag of the card; its flags: {', '.join(flags)}"


def _recipe_problems(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the prompts that could not be filled in."""
    for key, allowed in (("prompt", ("media", "question")), ("media_prompt", ("i",))):
        try:
            parts = list(string.Formatter().parse(getattr(recipe, key)))
        except ValueError as error:
            yield key, str(error)
            continue
        used = [name for _, name, _, _ in parts if name is not None]
        if any(spec or conversion for _, _, spec, conversion in parts):
            yield key, "placeholders take no format"
        for name in used:
            if name not in allowed:
                yield key, f"unknown {{{name}}}; allowed: {', '.join(f'{{{item}}}' for item in allowed)}"
        if key == "prompt" and "question" not in used:
            yield key, "holds no {question}"
