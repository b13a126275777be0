"""Answers judged by another model: what it is asked, how its reply is read, and when it is asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evalkit.records import Sample, Score

# Shown if neither the record nor the user says which model judged.
NOT_NAMED = "judge not named"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """How a task's answers are judged.

    A reply that cannot be read is asked for again at the next temperature; one that failed or is empty, ``tries`` times
    at the same temperature. After the last one the sample is ``unjudged``.

    Attributes:
        name: the judge that the card names.
        ask: returns the prompt about an answer; None if nothing need be asked, and ``Task.score`` scores it.
        read: returns the score that a reply gives; None if the reply cannot be used.
        max_new_tokens: limit of the reply.
        system: system message; empty for none.
        temperatures: of each attempt.
        tries: requests per attempt that may fail or return nothing.
        fallback: whether ``Task.score`` scores the answers that no judge has judged; else they are ``unjudged``.
    """

    name: str
    ask: Callable[[Sample, str], str | None]
    read: Callable[[Sample, str, str], Score | None]
    max_new_tokens: int
    system: str = ""
    temperatures: tuple[float, ...] = (0.0,)
    tries: int = 1
    fallback: bool = False


class Exchange(NamedTuple):
    """What a judge replied about one answer.

    Attributes:
        replies: one per request, in order; None for a failed request.
        model: the judge's name; None if the record does not say.
        response: the answer that was judged; None if the record does not say.
    """

    replies: tuple[str | None, ...]
    model: str | None = None
    response: str | None = None


class Judged(NamedTuple):
    """A judge's exchanges about a task's answers.

    Attributes:
        name: the judge.
        exchanges: by sample id.
    """

    name: str
    exchanges: Mapping[str, Exchange]


class Settled(NamedTuple):
    """What the replies about an answer amount to.

    Attributes:
        score: the judged score; None if no reply could be used.
        used: replies that the retry rule consumed.
        temperature: of the next request; None if there is none.
    """

    score: Score | None
    used: int
    temperature: float | None


def settle(judge: Judge, sample: Sample, answer: str, replies: Sequence[str | None]) -> Settled:
    """Apply a judge's retry rule to the replies so far."""
    used = 0
    for temperature in judge.temperatures:
        for _ in range(judge.tries):
            if used == len(replies):
                return Settled(None, used, temperature)
            reply = replies[used]
            used += 1
            if reply:
                if (score := judge.read(sample, answer, reply)) is not None:
                    return Settled(score, used, None)
                break
    return Settled(None, used, None)
