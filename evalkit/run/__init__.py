"""Inference: plan, queue, worker, run folder."""
