"""Benchmarks: each prints a ratio, and ends with 1 if it misses its target."""
