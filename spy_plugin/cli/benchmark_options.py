"""The options that name a benchmark, shared by several commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmarks import LAB, LAB_SMALL, MINI
from spy_plugin.errors import SpyBenchError

if TYPE_CHECKING:
    from spy_plugin.benchmark.samples import Benchmark

_EMBEDDED = {
    MINI: "the embedded benchmark",
    LAB: "the lab's test split",
    LAB_SMALL: "the test split of the lab's small size",
}


def add_benchmark_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--release`, `--questions` and an option for each benchmark that needs no download."""
    source = parser.add_mutually_exclusive_group(required=required)
    source.add_argument(
        "--benchmark", metavar="NAME|DIR", help="a benchmark by name, or one's own by its folder"
    )
    source.add_argument("--release", type=Path, metavar="DIR", help="root of an official release")
    source.add_argument(
        "--questions",
        type=Path,
        metavar="FILE",
        help="a benchmark in the official layout: questions.json, or a .jsonl of it or of the "
        "official scripts' rows",
    )
    for name, words in _EMBEDDED.items():
        source.add_argument(
            f"--{name}", dest="benchmark", action="store_const", const=name, help=words
        )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="with --questions: label2text.json (default: beside the questions)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="with --questions: where image_path begins (default: the questions' folder)",
    )


def is_named(args: argparse.Namespace) -> bool:
    """Return whether the options name a benchmark."""
    return bool(args.benchmark or args.release or args.questions)


def open_from_arguments(args: argparse.Namespace) -> Benchmark:
    """Open the benchmark that the options name.

    Raises:
        DataError: the release or the files cannot be read.
    """
    from spy_plugin.benchmarks import open_files, open_named, open_release

    if args.questions:
        return open_files(args.questions, args.labels, args.images)
    if args.labels or args.images:
        raise SpyBenchError("--labels and --images go with --questions. Add --questions FILE.")
    return open_named(args.benchmark) if args.benchmark else open_release(args.release)


def as_words(args: argparse.Namespace) -> list[str]:
    """Return the same options as words, for a command line to print."""
    if args.benchmark in _EMBEDDED:
        return [f"--{args.benchmark}"]
    if args.benchmark:
        return ["--benchmark", args.benchmark]
    names = ("release", "questions", "labels", "images")
    given = {name: getattr(args, name) for name in names}
    return [word for name, value in given.items() if value for word in (f"--{name}", str(value))]
