"""Metrics of the benchmarks, and statistics."""
