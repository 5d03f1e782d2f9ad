"""Fixtures: a small benchmark with pictures, its samples, and an answer file."""

from tests.small_benchmark import benchmark, open_file, pictures, samples

__all__ = ["benchmark", "open_file", "pictures", "samples"]
