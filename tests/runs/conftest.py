"""Fixtures: a small benchmark with pictures, and its samples."""

from tests.generation.conftest import benchmark, open_file, pictures, samples

__all__ = ["benchmark", "open_file", "pictures", "samples"]
