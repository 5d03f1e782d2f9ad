"""The options that name a benchmark, shared by several commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmarks import LAB, LAB_SMALL, MINI

if TYPE_CHECKING:
    from spy_plugin.benchmark.samples import Benchmark

_EMBEDDED = {
    MINI: "the embedded benchmark",
    LAB: "the lab's test split",
    LAB_SMALL: "the test split of the lab's small size",
}


def add_benchmark_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--release DIR` and an option for each benchmark that needs no download."""
    source = parser.add_mutually_exclusive_group(required=required)
    source.add_argument("--release", type=Path, metavar="DIR", help="root of an official release")
    for name, words in _EMBEDDED.items():
        source.add_argument(
            f"--{name}", dest="benchmark", action="store_const", const=name, help=words
        )


def open_from_arguments(args: argparse.Namespace) -> Benchmark:
    """Open the benchmark that the options name.

    Raises:
        DataError: the release cannot be read.
    """
    from spy_plugin.benchmarks import open_benchmark, open_release

    return open_benchmark(args.benchmark) if args.benchmark else open_release(args.release)


def as_words(args: argparse.Namespace) -> str:
    """Return the same options as text, for a command line to print."""
    return f"--{args.benchmark}" if args.benchmark else f"--release {args.release}"
