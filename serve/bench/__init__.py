"""Benchmarks that operators run: what is timed, beside what, and the context of the numbers."""
