"""A model that gives every question the same answer: the floor that a benchmark's score starts from.

evalkit run --plugin examples/constant_model.py --model constant:A --data-root D --out runs/constant
"""

from evalkit.models.base import Model, Source
from evalkit.records import Response


class Constant(Source, Model):
    def __init__(self, rest, options):
        self.answer_text = rest

    def open(self, local):
        return self

    def answer(self, groups):
        for request in (request for group in groups for request in group.requests):
            yield request, Response(request.id, self.answer_text)


MODELS = {"constant": Constant}
