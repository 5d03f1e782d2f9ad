"""The samples of our tasks in lmms-eval, opened once per process."""

from __future__ import annotations

from functools import cache

from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.data.pictures import check_images
from spy_plugin.registry.catalog import variants

TASKS = {variant.lmms: variant for variant in variants()}
"""Our tasks, by the host's name."""


def benchmark_of(task: str) -> Benchmark:
    """Return the benchmark of a task, with its pictures checked.

    Raises:
        SpyBenchError: data are missing or wrong.
    """
    return open_checked(TASKS[task].benchmark)


@cache
def open_checked(name: str) -> Benchmark:
    """Open a benchmark and check its pictures."""
    benchmark = open_benchmark(name)
    check_images(benchmark)
    return benchmark


@cache
def samples_of(task: str) -> dict[str, Sample]:
    """Return the samples of a task by id, in protocol order."""
    samples = benchmark_of(task).samples(distractors=TASKS[task].distractors)
    return {sample.sample_id: sample for sample in samples}
