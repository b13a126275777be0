"""``run --audit N``: rerun a sample of each task with the reference engine and count what changes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from evalkit.errors import MediaError
from evalkit.inference.worker import load_media, robust_answers
from evalkit.media.decoder import Decoders
from evalkit.metrics.statistics import SEED
from evalkit.models.base import MediaGroup, Model, Wants
from evalkit.records import Request, Response, Sample
from evalkit.selection import Job


def audit(
    reference: Model,
    jobs: Sequence[Job],
    responses: Mapping[str, Mapping[str, Response]],
    decoders: Decoders,
    count: int,
    wants: Wants,
) -> dict[str, dict[str, Any]]:
    """Answer a seeded sample of each task one question at a time and compare.

    Args:
        reference: the same model with the reference engine.
        jobs: the tasks.
        responses: the run's responses of each task, by id.
        decoders: decode the media.
        count: samples per task; all if a task has fewer.
        wants: what the model looks at.

    Returns:
        For each task the number audited, how many answers and how many scores differ (None without labels), the share
        of differing answers with its 95 % Wilson interval, and the ids that differ.
    """
    results = {}
    for job in jobs:
        known = responses[job.task.name]
        usable = [
            (sample, request)
            for sample, request in zip(job.samples, job.requests, strict=True)
            if request.id in known and not known[request.id].outcome.failed
        ]
        chosen = random.Random(SEED).sample(usable, min(count, len(usable)))
        pairs = [
            (sample, known[request.id], _answer(reference, request, decoders, wants)) for sample, request in chosen
        ]
        differing = [first.id for _, first, second in pairs if second is None or first.response != second.response]
        # A judged answer has no score until it is judged.
        scored = job.task.judge is None and any(sample.references for sample in job.samples)
        values = (
            [(_value(job, sample, first), _value(job, sample, second)) for sample, first, second in pairs]
            if scored
            else []
        )
        low, high = wilson(len(differing), len(pairs))
        results[job.task.name] = {
            "n": len(pairs),
            "answers_differ": len(differing),
            "scores_differ": sum(first != second for first, second in values) if scored else None,
            "share": len(differing) / len(pairs) if pairs else None,
            "ci95": [low, high],
            "ids": differing,
        }
    return results


def _answer(reference: Model, request: Request, decoders: Decoders, wants: Wants) -> Response | None:
    media = load_media([request], decoders, wants)
    if isinstance(media, MediaError):
        return None  # the file was there during the run: a difference
    # A failure of the reference engine is a difference too, and no reason to lose a finished run's scores.
    return next((response for _, response in robust_answers(reference, [MediaGroup([request], media)])), None)


def _value(job: Job, sample: Sample, response: Response | None) -> float | None:
    return None if response is None else job.task.score(sample, response.response).value


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson interval of a share; (0, 1) without observations."""
    if not n:
        return 0.0, 1.0
    share, spread = hits / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)
