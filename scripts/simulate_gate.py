"""False alarm rate and power of ``evalkit check``, by simulation on data shaped like RefCOCO val.

    python scripts/simulate_gate.py [--runs 1000]

Each simulated pair of runs answers 10,834 questions on 1,500 images. Whether a question is answered right depends on
the question and on its image; between two runs a share of the questions is answered anew, as batch effects or another
build do. Under the null both runs are equally good: every gate that fires is a false alarm. Under the alternative the
run loses 2 points.
"""

from __future__ import annotations

import argparse

import numpy as np

from evalkit.metrics.statistics import sign_flip_test
from evalkit.metrics.sums import question_sums

QUESTIONS, IMAGES, ALPHA = 10_834, 1_500, 0.05


def simulate(generator: np.random.Generator, redrawn: float, by_image: bool, drop: float) -> float:
    """Return the p-value of one simulated pair of runs.

    Args:
        generator: source of randomness.
        redrawn: share of questions (or images) whose answers are drawn anew.
        by_image: whether all questions on an image are redrawn together, or each alone.
        drop: loss of the run as a fraction.
    """
    image = np.sort(generator.integers(0, IMAGES, QUESTIONS))
    skill = np.clip(0.8 + 0.15 * generator.standard_normal(IMAGES)[image], 0.02, 0.98)
    base = generator.random(QUESTIONS) < skill
    changed = (generator.random(IMAGES) < redrawn)[image] if by_image else generator.random(QUESTIONS) < redrawn
    run = np.where(changed, generator.random(QUESTIONS) < skill, base)
    if drop:
        run = run & (generator.random(QUESTIONS) >= drop / base.mean())
    pairs = [(str(cluster), float(value)) for cluster, value in zip(image, run.astype(int) - base, strict=True)]
    return sign_flip_test(question_sums(pairs).column("sum")).drop


def main() -> None:
    """Print both rates for several amounts and kinds of disagreement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    generator = np.random.default_rng(1)
    print(
        f"{runs} simulated pairs each, alpha {ALPHA}\n\n| resampled | false alarms | power, 2 points |\n|---|---:|---:|"
    )
    for redrawn in (0.002, 0.02, 0.1, 0.5):
        for by_image in (False, True):
            rates = [
                np.mean([simulate(generator, redrawn, by_image, drop) <= ALPHA for _ in range(runs)])
                for drop in (0.0, 0.02)
            ]
            unit = "images" if by_image else "questions"
            print(f"| {redrawn:.1%} of {unit} | {rates[0]:.3f} | {rates[1]:.3f} |", flush=True)


if __name__ == "__main__":
    main()
