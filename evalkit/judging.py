"""Answers judged by another model: its prompt, how a reply is read, and the retry rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evalkit.records import Sample, Score

Ask = Callable[[Sample, str], str | None]
Read = Callable[[Sample, str, str], Score | None]
Careful = Callable[[str], float | None]

# Shown if neither the record nor the user names the judge.
NOT_NAMED = "judge not named"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """How a task's answers are judged.

    After an unreadable reply, the request is retried at the next temperature; after a failed or empty one, at the same
    temperature, up to ``tries`` requests. A sample without a usable reply is ``unjudged``.

    Attributes:
        name: the card's judge.
        ask: returns the prompt about an answer; None if it needs no judge and ``Task.score`` scores it.
        read: returns the score in a reply; None if the reply is unusable. A score without an answer is one that the
            official code cannot use: its ``fixed`` counts in the fixed score, and the answer is ``unjudged``.
        max_new_tokens: limit of the reply.
        system: system message; empty for none.
        temperatures: of each attempt.
        tries: most requests per attempt, if they fail or return nothing.
        failure: text by which a reply counts as a failed request; empty for none.
        retry: appended to the prompt after the first attempt.
        careful: returns the fixed value in a reply, or None; the first reply that it can read counts for the fixed
            score. None: the fixed score is that of ``read``.
        unread: final attempts whose reply is not read, as in the official code; their answers are ``unjudged``.
        fallback: whether ``Task.score`` scores answers without a judgement; else they are ``unjudged``.
    """

    name: str
    ask: Ask
    read: Read
    max_new_tokens: int
    system: str = ""
    temperatures: tuple[float, ...] = (0.0,)
    tries: int = 1
    failure: str = ""
    retry: str = ""
    careful: Careful | None = None
    unread: int = 0
    fallback: bool = False


class Exchange(NamedTuple):
    """A judge's replies about one answer.

    Attributes:
        replies: one per request, in order; None for a failed request.
        model: the judge's name; None if not recorded.
        response: the judged answer; None if not recorded.
        prompt_sha256: hash of the judge's prompt; None if not recorded.
    """

    replies: tuple[str | None, ...]
    model: str | None = None
    response: str | None = None
    prompt_sha256: str | None = None


class Judged(NamedTuple):
    """A judge's exchanges about a task's answers.

    Attributes:
        name: the judge.
        exchanges: by sample id.
    """

    name: str
    exchanges: Mapping[str, Exchange]


class Settled(NamedTuple):
    """Result of the replies about an answer.

    Attributes:
        score: the judged score; None without a usable reply.
        used: replies that the retry rule consumed.
        attempt: 0-based attempt of the next request, an index of ``Judge.temperatures``; None if no request follows.
    """

    score: Score | None
    used: int
    attempt: int | None


def failed(judge: Judge, reply: str | None) -> bool:
    """Return whether a request failed, or brought nothing or a text that says so."""
    return not reply or not reply.strip() or bool(judge.failure and judge.failure in reply)


def settle(judge: Judge, sample: Sample, answer: str, replies: Sequence[str | None]) -> Settled:
    """Apply a judge's retry rule to the replies so far."""
    used = 0
    read = len(judge.temperatures) - judge.unread
    for attempt in range(len(judge.temperatures)):
        for _ in range(judge.tries):
            if used == len(replies):
                return Settled(None, used, attempt)
            reply = replies[used]
            used += 1
            if not failed(judge, reply):
                if attempt < read and (score := judge.read(sample, answer, reply or "")) is not None:
                    return Settled(score, used, None)
                break
    return Settled(None, used, None)
