"""YAML files validated by a pydantic model; every problem has its line, key and nearest allowed key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import Composer

from evalkit.errors import UsageError

Key = tuple[int | str, ...]
Schema = Mapping[str, Any]
Model = TypeVar("Model", bound=BaseModel)

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument")
# Types that pydantic tried for a published number, which it appends to the number's key: not keys of the file.
_TRIED = ("int", "float", "constrained-float")


class Document:
    """A YAML file with the problems found in it.

    Attributes:
        content: the content as JSON types; after ``validate`` wrong values are None, and misspelt keys are corrected,
            so that further checks see as much as possible.
        problems: the lines of the listing by (line, column, last key, message): a mistake behind an anchor is one
            problem, however often the anchor is used.
    """

    def __init__(self, path: Path, node: yaml.Node) -> None:
        self.path = path
        self.content: Any = None
        self.problems: dict[tuple[int, int, str, str], str] = {}
        self._node = node

    def report(self, key: Key, message: str, mark: yaml.Mark | None = None) -> None:
        """Add a problem.

        Args:
            key: path of keys and list indices from the root.
            message: what is wrong.
            mark: its position in the file; None: that of the key, or of its closest existing parent.
        """
        mark = mark or self._mark(key)
        dotted = ".".join(map(str, key)) or "card"
        text = f"{self.path}:{mark.line + 1}: {' '.join(f'{dotted}: {message}'.split())}"  # a key may hold line ends
        self.problems.setdefault((mark.line, mark.column, dotted.rsplit(".", 1)[-1], message), text)

    def listing(self) -> str:
        """Return all problems, one per line, in the order of the file."""
        return "\n".join(self.problems[position] for position in sorted(self.problems))

    def validate(self, kind: type[Model]) -> Model | None:
        """Return the content as a model; None if it is not valid, with the reasons under ``problems``."""
        while True:
            try:
                # As JSON: types are strict, and a mapping may still become the Recipe dataclass.
                return kind.model_validate_json(json.dumps(self.content))
            except ValidationError as error:
                errors = [(_key(item["loc"]), item) for item in error.errors()]
            unknown = [key for key, item in errors if item["type"] in _UNKNOWN]
            if not unknown:
                break
            self._correct(unknown, kind.model_json_schema())
        reported: set[Key] = set()
        for key, item in errors:
            if key not in reported:  # a number fails once for each type tried; the first message is the widest type's
                missing = item["type"] in _MISSING
                value = f" (got {str(item['input'])[:60]!r})"
                self.report(key, "required but missing" if missing else item["msg"] + value)
                reported.add(key)
        for key in reported:
            self._blank(key)
        return None

    def _correct(self, unknown: list[Key], schema: Schema) -> None:
        """Report unknown keys, then rename each to its nearest allowed key or remove it."""
        corrections = []
        for key in unknown:
            allowed = allowed_keys(schema, key[:-1])
            name = str(key[-1])
            self.report(key, f"unknown key; {suggestion(name, allowed)}allowed: {', '.join(allowed)}")
            corrections.append((key, nearest(name, allowed)))
        for key, near_key in corrections:
            mapping = self._at(key[:-1])
            value = mapping.pop(key[-1])
            if near_key is not None and near_key not in mapping:
                mapping[near_key] = value
                self._rename(key, near_key)

    def _rename(self, key: Key, name: str) -> None:
        """Rename a key in the nodes too, so that problems below it still have their line."""
        *_, (_, parent) = [("", self._node), *self._path(key[:-1])]
        for key_node, _ in parent.value if isinstance(parent, yaml.MappingNode) else ():
            if key_node.value == key[-1]:
                key_node.value = name

    def _blank(self, key: Key) -> None:
        """Set a wrong value to None; a missing one stays missing."""
        if not key:
            self.content = None
            return
        parent = self._at(key[:-1])
        if not isinstance(parent, dict) or key[-1] in parent:
            parent[key[-1]] = None

    def _at(self, key: Key) -> Any:
        part = self.content
        for step in key:
            part = part[step]
        return part

    def _mark(self, key: Key) -> yaml.Mark:
        marks = [position.start_mark for position, _ in self._path(key)]
        return marks[-1] if marks else self._node.start_mark

    def _path(self, key: Key) -> list[tuple[yaml.Node, yaml.Node]]:
        """Return (node that gives the position, node of the value) of each step, up to the first missing one."""
        steps: list[tuple[yaml.Node, yaml.Node]] = []
        node = self._node
        for step in key:
            if isinstance(node, yaml.MappingNode):
                pairs = [pair for pair in node.value if pair[0].value == str(step)]
                if not pairs:
                    break
                steps.append(pairs[-1])
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                steps.append((node.value[step], node.value[step]))
            else:
                break
            node = steps[-1][1]
        return steps

    def check_keys(self, node: yaml.Node, key: Key = ()) -> None:
        """Report duplicate keys, of which YAML would silently keep the last, and keys without a line of their own."""
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key_node, value in node.value:
                name = key_node.value
                if not isinstance(name, str):
                    self.report(key, "a key must be plain text", key_node.start_mark)
                    continue
                if key_node.tag == "tag:yaml.org,2002:merge":
                    self.report((*key, name), "merge keys are not allowed", key_node.start_mark)
                elif name in seen:
                    self.report((*key, name), f"key {name!r} occurs twice", key_node.start_mark)
                seen.add(name)
                self.check_keys(value, (*key, name))
            node.value = [pair for pair in node.value if isinstance(pair[0].value, str)]
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self.check_keys(value, (*key, index))


def read_document(text: str, path: Path) -> Document:
    """Parse a YAML file.

    Raises:
        UsageError: it is not YAML, or contains an unreadable value; one line.
    """
    try:
        loader = _loader(text)
        node = loader.get_single_node()
        if node is None or node.tag == "tag:yaml.org,2002:null":
            raise UsageError(f"{path}:1: card: the file is empty")
        document = Document(path, node)
        document.check_keys(node)
        document.content = json.loads(json.dumps(loader.construct_document(node), default=str))
        return document
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{path}:{mark.line + 1 if mark else 1}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise UsageError(f"{path}:1: card: nested too deeply") from error
    except ValueError as error:  # a date with a 13th month, a number of 5000 digits, an alias to its own parent
        raise UsageError(f"{path}:1: card: unreadable value: {error}") from error


def _loader(text: str) -> Any:
    """Return libyaml's parser with Python's composer, which raises an error on deep nesting; libyaml's crashes."""
    if not yaml.__with_libyaml__:
        return yaml.SafeLoader(text)

    class Loader(Composer, yaml.CSafeLoader):
        def __init__(self) -> None:
            yaml.CSafeLoader.__init__(self, text)
            Composer.__init__(self)

    return Loader()


def allowed_keys(schema: Schema, key: Key) -> list[str]:
    """Return the keys that a mapping may have.

    Args:
        schema: JSON schema of the whole file.
        key: path of the mapping.
    """
    part = schema
    for step in key:
        part = _resolved(schema, part["items"] if isinstance(step, int) else part["properties"][step])
    return list(part["properties"])


def nearest(name: str, allowed: Sequence[str]) -> str | None:
    """Return the allowed name most similar to a wrong one; None if none is similar."""
    return next(iter(get_close_matches(name, allowed, n=1)), None)


def suggestion(name: str, allowed: Sequence[str]) -> str:
    """Return "did you mean" with the nearest allowed name; empty if none is similar."""
    near = nearest(name, allowed)
    return f"did you mean {near!r}? " if near else ""


def _resolved(schema: Schema, part: Schema) -> Schema:
    """Follow references; for a nullable value, return the schema of the value."""
    while "$ref" in part or "anyOf" in part:
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part["anyOf"][0]
    return part


def _key(loc: tuple[int | str, ...]) -> Key:
    return loc[:-1] if loc and loc[-1] in _TRIED else loc
