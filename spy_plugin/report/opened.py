"""The benchmarks of a report that are on this machine: for prompts, pictures and true values."""

from __future__ import annotations

import logging
from functools import cache

from spy_plugin.benchmark.official_files import OFFICIAL_SCRIPTS
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.errors import SpyBenchError
from spy_plugin.scoring.ground_truth import GroundTruth, GroundTruths

logger = logging.getLogger(__name__)


@cache
def open_if_here(benchmark: str) -> Benchmark | None:
    """Open a benchmark by the name that a run records; None if it is not on this machine."""
    if benchmark in ("", OFFICIAL_SCRIPTS):
        return None
    try:
        return open_benchmark(benchmark)
    except SpyBenchError as error:
        logger.info("the report shows no prompts of %s: %s", benchmark, error)
        return None


@cache
def ground_truths(benchmark: str) -> GroundTruths:
    """Return what the pictures of a benchmark show, by benchmark id; nothing if it is not here."""
    opened = open_if_here(benchmark)
    return {
        item.benchmark_id: GroundTruth(item.gt, item.question, item.image_path)
        for item in (opened.items if opened else ())
        if item.gt
    }
