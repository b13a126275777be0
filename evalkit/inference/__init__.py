"""Inference: plan, queue, ranks, worker, progress, audit."""
