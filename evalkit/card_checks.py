"""Card checks beyond the schema: names that must exist or be unique, missing numbers, unusable recipes."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from evalkit.card_yaml import Key, nearest, suggestion
from evalkit.records import Recipe

Content = Mapping[str, Any]
Problem = tuple[Key, str]

_RECIPE = TypeAdapter(Recipe)


def card_problems(card: Content) -> Iterator[Problem]:
    """Yield the problems of a card that involve several keys, or that the schema cannot express.

    Args:
        card: content of the file; values that the schema rejects are None (``Document.validate``) and skipped here, so
            that one mistake is not reported twice.
    """
    yield from _model_problems(card)
    yield from _duplicate_ids(card)
    flags = [flag["id"] for _, flag in _items(card, "flags") if flag.get("id") is not None]
    for key, table, row in _rows(card):
        problems = (*_number_problems(table, row), *_flag_problems(row, flags), *_score_problems(row))
        yield from (((*key, *inner), message) for inner, message in problems)
    yield from _row_reference_problems(card)
    yield from _recipe_problems(card)


def _items(mapping: Content, name: str) -> Iterator[tuple[int, Any]]:
    """Yield the valid entries of a list with their indices."""
    return ((index, item) for index, item in enumerate(mapping.get(name) or []) if item is not None)


def _rows(card: Content) -> Iterator[tuple[Key, Content, Content]]:
    """Yield path, table and row of each row."""
    for t, table in _items(card, "tables"):
        for r, row in _items(table, "rows"):
            yield ("tables", t, "rows", r), table, row


def _model_problems(card: Content) -> Iterator[Problem]:
    """Yield a card model that no table lists, and models with two parameter counts."""
    listed: dict[str, int | None] = {}
    for t, table in _items(card, "tables"):
        for m, model in _items(table, "models"):
            name, parameters = model.get("name"), model.get("parameters")
            if listed.get(name) and parameters and parameters != listed[name]:
                yield ("tables", t, "models", m, "parameters"), f"{name!r} has {listed[name]} in an earlier table"
            listed[name] = listed.get(name) or parameters
        if not table.get("models"):
            names = [name for _, row in _items(table, "rows") for name in row.get("published") or {}]
            listed |= {name: listed.get(name) for name in names}
    if card.get("model") is not None and card["model"] not in listed and card.get("tables") is not None:
        hint = suggestion(card["model"], list(listed)).rstrip()
        yield ("model",), f"{card['model']!r} is not listed in any table{hint and '; '}{hint}"


def _duplicate_ids(card: Content) -> Iterator[Problem]:
    named: list[tuple[str, Key, Content]] = [("table", ("tables", t), table) for t, table in _items(card, "tables")]
    named += [("row", key, row) for key, _, row in _rows(card)]
    named += [("flag", ("flags", f), flag) for f, flag in _items(card, "flags")]
    seen: set[tuple[str, str | None]] = set()
    for kind, key, item in named:
        name = item.get("id")
        if name is not None and (kind, name) in seen:
            yield (*key, "id"), f"{kind} id {name!r} occurs twice"
        seen.add((kind, name))


def _number_problems(table: Content, row: Content) -> Iterator[Problem]:
    """Yield published numbers of unknown models or above the maximum, and missing ones."""
    numbers, maximum = row.get("published"), row.get("maximum", 100)
    models = [model.get("name") for _, model in _items(table, "models")]
    if numbers is None or None in models:
        return
    misspelt = set()
    for name, value in numbers.items():
        if models and name not in models:
            misspelt.add(nearest(name, models))
            hint = suggestion(name, models)
            yield ("published", name), f"not a model of this table; {hint}its models: {', '.join(models)}"
        elif value is not None and maximum is not None and not 0 <= value <= maximum:
            yield ("published", name), f"{value} is not between 0 and the row's maximum, {maximum}"
    for name in models:
        if name not in numbers and name not in misspelt:
            yield ("published",), f"no number for {name!r}; use null if the card prints none"


def _flag_problems(row: Content, flags: Sequence[str]) -> Iterator[Problem]:
    for index, flag in _items(row, "flags"):
        if flag not in flags:
            hint = suggestion(flag, flags)
            yield ("flags", index), f"{flag!r} is not a flag of the card; {hint}its flags: {', '.join(flags)}"


def _score_problems(row: Content) -> Iterator[Problem]:
    """Yield a row without exactly one source of its score, and the same for each part of a mean."""
    if ("tasks" in row) + ("mean_of" in row) != 1:
        yield (), "a row needs exactly one of 'tasks' and 'mean_of'"
    if "mean_of" in row and "recipe" in row and "also" not in row:
        yield ("recipe",), "a recipe needs tasks; recipes of the parts of a mean go under the card's 'recipes'"
    for key, part in _parts(row):
        if sum(kind in part for kind in ("task", "row", "mean_of")) != 1:
            yield key, "a part needs exactly one of 'task', 'row' and 'mean_of'"


def _parts(row: Content, key: Key = ()) -> Iterator[tuple[Key, Content]]:
    """Yield path and content of each part of a mean, nested ones included."""
    for index, part in _items(row, "mean_of"):
        inner: Key = (*key, "mean_of", index)
        yield inner, part
        yield from _parts(part, inner)


def _row_reference_problems(card: Content) -> Iterator[Problem]:
    """Yield parts that name an unknown row, or one whose score needs the part's own row."""
    rows = {row.get("id"): row for _, _, row in _rows(card)}

    def needs(name: str | None, seen: set[str | None]) -> set[str | None]:
        """Return the rows behind a row's score."""
        for _, part in _parts(rows.get(name, {})):
            if (inner := part.get("row")) is not None and inner not in seen:
                seen.add(inner)
                needs(inner, seen)
        return seen

    for key, _, row in _rows(card):
        for inner, part in _parts(row):
            name = part.get("row")
            if name is None:
                continue
            if name not in rows:
                hint = suggestion(name, [other for other in rows if other is not None]).rstrip()
                yield (*key, *inner, "row"), f"{name!r} is not a row of the card{hint and '; '}{hint}"
            elif row.get("id") == name or row.get("id") in needs(name, set()):
                yield (*key, *inner, "row"), f"circular: the score of {name!r} depends on this row"


def _recipe_problems(card: Content) -> Iterator[Problem]:
    """Yield unusable recipes, and tasks with two different ones."""
    given: list[tuple[Key, Content, str]] = [(key, row, str(row.get("id"))) for key, _, row in _rows(card)]
    given += [(("recipes", index), item, f"recipes.{index}") for index, item in _items(card, "recipes")]
    known: dict[str, tuple[str, Recipe]] = {}
    for key, item, owner in given:
        if item.get("recipe") is None:
            continue
        yield from (((*key, "recipe", *inner), message) for inner, message in recipe_problems(item["recipe"]))
        try:
            recipe = _RECIPE.validate_json(json.dumps(item["recipe"]))
        except ValidationError:
            continue  # reported by the schema
        for _, task in (*_items(item, "tasks"), *_items(item, "also")):
            earlier, other = known.setdefault(task, (owner, recipe))
            if other != recipe:
                yield (*key, "recipe"), f"task {task!r} already has a different recipe ({earlier})"


def recipe_problems(recipe: Content) -> Iterator[Problem]:
    """Yield prompts that cannot be formatted, and suffixes that no prompt uses or that are needed and missing."""
    prompt, several = recipe.get("prompt"), recipe.get("several") or {}
    known = ("media", "question", "suffix", "subtitles")
    texts: list[tuple[Key, str | None, Sequence[str], Sequence[str]]] = [
        (("prompt",), prompt, known, ("question",)),
        (("media_prompt",), recipe.get("media_prompt"), ("i",), ()),
        (("several", "prompt"), several.get("prompt"), (*known, "labels"), ("question",)),
        (("several", "media_prompt"), several.get("media_prompt"), ("i",), ()),
        (("several", "label"), several.get("label"), ("i",), ()),
    ]
    for key, text, allowed, required in texts:
        if text is not None:
            yield from ((key, message) for message in _prompt_problems(text, allowed, required))
    if prompt is not None and ("{suffix}" in prompt) != bool(recipe.get("suffixes")):
        message = "lacks {suffix}, which 'suffixes' are for" if recipe.get("suffixes") else "{suffix} needs 'suffixes'"
        yield ("prompt",), message


def _prompt_problems(prompt: str, allowed: Sequence[str], required: Sequence[str]) -> Iterator[str]:
    try:
        parts = list(string.Formatter().parse(prompt))
    except ValueError as error:
        yield str(error)
        return
    used = [name for _, name, _, _ in parts if name is not None]
    unknown = [name for name in used if name not in allowed]
    if any(spec or conversion for _, _, spec, conversion in parts):
        yield "placeholders take no format"
    for name in unknown:
        yield f"unknown {{{name}}}; allowed: {', '.join(f'{{{item}}}' for item in allowed)}"
    for name in required:
        if name not in used and not unknown:  # an unknown placeholder is most likely this one misspelt
            yield f"lacks {{{name}}}"
