"""The shared benchmark."""

from tests.small_benchmark import benchmark, open_file, pictures, samples  # noqa: F401
