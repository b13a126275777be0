"""Judge prompts as data: ``configs/judges/<name>.yaml``, with their source and licence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge, MinLen

from evalkit.errors import UsageError
from evalkit.judging import Ask, Careful, Judge, Read
from evalkit.plugins import shipped

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePrompt:
    """What a judge is asked, how often and at which temperatures.

    Attributes:
        source: file, repository and commit that the texts are from.
        licence: their licence.
        model: the card's judge.
        user: the user turn; ``{name}`` is filled in.
        max_new_tokens: limit of the reply.
        temperatures: of each attempt.
        tries: most requests per attempt, if they fail or return nothing.
        system: system message; empty for none.
        failure: text by which a reply counts as a failed request.
        retry: appended to the user turn after the first attempt.
        unread: final attempts that the official code makes without reading the reply.
    """

    source: str
    licence: str
    model: str
    user: str
    max_new_tokens: Annotated[int, Ge(1)]
    temperatures: Annotated[tuple[float, ...], MinLen(1)]
    tries: Annotated[int, Ge(1)] = 1
    system: str = ""
    failure: str = ""
    retry: str = ""
    unread: Annotated[int, Ge(0)] = 0

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def fill(self, **fields: str) -> str:
        """Return the user turn with every ``{name}`` replaced; braces in the values stay as they are."""
        return _FIELD.sub(lambda match: fields[match[1]], self.user)

    def judge(self, ask: Ask, read: Read, *, fallback: bool = False, careful: Careful | None = None) -> Judge:
        """Return the judge that asks in this way (see ``Judge``)."""
        return Judge(
            name=self.model, ask=ask, read=read, max_new_tokens=self.max_new_tokens, system=self.system,
            temperatures=self.temperatures, tries=self.tries, failure=self.failure, retry=self.retry,
            unread=self.unread, fallback=fallback, careful=careful,
        )  # fmt: skip


@cache
def judge_prompt(name: str) -> JudgePrompt:
    """Return the prompt in ``configs/judges/<name>.yaml``.

    Raises:
        UsageError: there is none, or it is invalid.
    """
    import yaml
    from pydantic import ValidationError

    path = shipped("configs") / "judges" / f"{name}.yaml"
    try:
        return _adapter().validate_python(yaml.load(path.read_text(encoding="utf-8"), Loader=_loader()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error).splitlines()[0]
        raise UsageError(f"judge {name!r}: {path}: {reason}") from error


@cache
def _adapter() -> TypeAdapter[JudgePrompt]:
    from pydantic import TypeAdapter

    return TypeAdapter(JudgePrompt)


def _loader() -> Any:
    """Return libyaml's safe loader where PyYAML has it: every task list reads these files."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
