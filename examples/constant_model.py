"""A model that gives every question the same answer: a lower bound for any benchmark's score.

evalkit run --plugin examples/constant_model.py --model constant:A --data-root D --out runs/constant
"""

from collections.abc import Iterable, Iterator

from evalkit.models.base import LocalRank, MediaGroup, Model, Source
from evalkit.records import Request, Response


class Constant(Source, Model):
    def __init__(self, rest: str, options: object) -> None:
        self.answer_text = rest

    def fingerprint(self) -> dict[str, str]:
        return {"answer": self.answer_text}  # a run with another answer is not resumed

    def open(self, local: LocalRank) -> Model:
        return self

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        for request in (request for group in groups for request in group.requests):
            yield request, Response(request.id, self.answer_text)


MODELS = {"constant": Constant}
