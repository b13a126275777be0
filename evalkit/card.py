"""Model cards as data: each row's recipe and published numbers, read from ``configs/cards/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from evalkit.card_checks import card_problems
from evalkit.card_yaml import read_document
from evalkit.errors import UsageError
from evalkit.formula import Formula, as_numpy
from evalkit.plugins import shipped
from evalkit.records import Recipe

# YAML allows .nan and .inf; neither is a valid score or valid JSON.
Number = Annotated[float, Field(allow_inf_nan=False)]
Digits = Annotated[int, Field(ge=0, le=6)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _one_of(*keys: str) -> ConfigDict:
    """Return schema metadata for editors: exactly one of these keys is required (``card_checks`` enforces it)."""
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in keys]})


class PublishedModel(_Strict):
    """A column of published numbers.

    Attributes:
        name: as the card prints it.
        parameters: its parameter count; a run of a model with another count gets a note.
    """

    name: str
    parameters: int | None = Field(default=None, gt=0)


class Part(_Strict):
    """One part of a mean: exactly one of ``task``, ``row`` and ``mean_of``.

    Attributes:
        task: a task's score.
        row: the score of another row, by its id.
        mean_of: the plain mean of these parts.
        divisor: what the score is divided by.
        round: digits to which it is rounded before it enters the mean, as if printed.
    """

    model_config = _one_of("task", "row", "mean_of")

    task: str | None = None
    row: str | None = None
    mean_of: list[Part] = Field(default=[], min_length=1)
    divisor: Number = Field(default=1, gt=0)
    round: Digits | None = None


class Row(_Strict):
    """One benchmark of the card. Its score comes from exactly one of ``tasks`` and ``mean_of``.

    Attributes:
        id: unique in the card.
        label: as the card prints it, its subscript set off by a space.
        tasks: the score is the plain mean of these tasks' scores.
        mean_of: the score is the plain mean of these parts.
        published: model name -> number; null is the card's "-".
        metric: name of the metric; by default the task's own.
        decimals: decimal places that the card prints.
        round: digits to which the mean itself is rounded, by numpy's rule.
        maximum: largest possible score.
        also: more tasks with the same recipe that are not part of the score.
        recipe: the recipe of its tasks.
        note: a caveat to print with the number.
        flags: ids of the card's discrepancies that touch this row.
    """

    model_config = _one_of("tasks", "mean_of")

    id: str
    label: str
    tasks: list[str] = Field(default=[], min_length=1)
    mean_of: list[Part] = Field(default=[], min_length=1)
    published: dict[str, Number | int | None]
    metric: str | None = None
    decimals: Digits = 1
    round: Digits | None = None
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
        rows: the benchmarks, in the card's order.
        models: the published models, in the card's order; by default those that the rows name, in that order.
        models_as_rows: whether the card prints models as rows and benchmarks as columns.
    """

    id: str
    title: str
    rows: list[Row]
    models: list[PublishedModel] = Field(default=[], validate_default=True)
    models_as_rows: bool = False

    @field_validator("models")
    @classmethod
    def _named_in_rows(cls, models: list[PublishedModel], info: ValidationInfo) -> list[PublishedModel]:
        names = dict.fromkeys(name for row in info.data.get("rows", []) for name in row.published)
        return models or [PublishedModel(name=name) for name in names]


class TaskRecipe(_Strict):
    """The recipe of tasks without a row of their own, for example parts of an average.

    Attributes:
        tasks: their names.
        recipe: their recipe.
    """

    tasks: list[str] = Field(min_length=1)
    recipe: Recipe


class Flag(_Strict):
    """A discrepancy in the published numbers.

    Attributes:
        id: referenced by rows.
        detail: what disagrees with what.
    """

    id: str
    detail: str


class Card(_Strict):
    """A model card.

    Attributes:
        name: what ``--card`` takes.
        title: its heading.
        model: the published model that the card describes; differences are to its numbers. None: no differences.
        tile_size: side of a tile in pixels, for models that do not specify one.
        source: where the numbers and recipes come from.
        tables: its tables.
        recipes: recipes of tasks without a row of their own.
        flags: discrepancies in the published numbers.
        logs: more precise numbers from the official evaluation guide, by model; shown in docs/reproduce.md.
    """

    name: str
    title: str
    model: str | None = None
    tile_size: int = Field(default=448, gt=0)
    source: str
    tables: list[Table]
    recipes: list[TaskRecipe] = []
    flags: list[Flag] = []
    logs: dict[str, Any] = {}

    @property
    def parameters(self) -> int | None:
        """Number of parameters of the card's own model; None if no table gives it."""
        models = (model for table in self.tables for model in table.models if model.name == self.model)
        return next((model.parameters for model in models if model.parameters), None)

    def rows(self) -> Iterator[Row]:
        """Yield all rows in card order."""
        for table in self.tables:
            yield from table.rows

    def formula(self, row: Row) -> Formula:
        """Return the formula of a row's score from its tasks' scores."""
        parts = [Part(task=task) for task in row.tasks] or row.mean_of
        return Formula(parts=tuple(map(self._part, parts)), decimals=row.round, rounding=as_numpy)

    def _part(self, part: Part) -> Formula:
        if part.task is not None:
            return Formula(task=part.task, divisor=part.divisor, decimals=part.round)
        if part.row is not None:
            parts = [self.formula(row) for row in self.rows() if row.id == part.row]
        else:
            parts = [self._part(inner) for inner in part.mean_of]
        return Formula(parts=tuple(parts), divisor=part.divisor, decimals=part.round)

    def recipe(self, task: str) -> Recipe | None:
        """Return a task's recipe; None if the card has none."""
        given = [(row.recipe, (*row.tasks, *row.also)) for row in self.rows()]
        given += [(item.recipe, tuple(item.tasks)) for item in self.recipes]
        return next((recipe for recipe, tasks in given if recipe and task in tasks), None)

    def rows_of(self, task: str) -> list[str]:
        """Return the ids of the rows whose score a task is part of."""
        return [row.id for row in self.rows() if task in self.formula(row).tasks]

    def tasks(self) -> list[str]:
        """Return the tasks behind all rows, in card order."""
        return list(dict.fromkeys(task for row in self.rows() for task in self.formula(row).tasks))


def load_card(name: str) -> Card:
    """Read a card by its name, or from a YAML file.

    Raises:
        UsageError: the card does not exist or is invalid; lists every problem with file, line, key and allowed values.
    """
    folder = shipped("configs") / "cards"
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or NUL in the name
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        reason = "not a UTF-8 text file" if isinstance(error, UnicodeError) else getattr(error, "strerror", str(error))
        raise UsageError(f"card {name!r}: {path}: {reason}; known cards: {known}, or give a .yaml file") from error
    document = read_document(text, path)
    card = document.validate(Card)
    for key, message in card_problems(document.content or {}):
        document.report(key, message)
    if card is None or document.problems:
        raise UsageError(document.listing())
    return card
