"""The options that name a benchmark, shared by all commands that need one."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.own_names import PREFIX
from spy_plugin.benchmarks import (
    LAB,
    LAB_SMALL,
    MINI,
    NAMES,
    OFFICIAL,
    OWN_VARIABLE,
    RELEASE_VARIABLE,
    UNPINNED,
    is_name,
    known_name,
)
from spy_plugin.cli.option_types import any_path, file_path
from spy_plugin.errors import DataError, SpyBenchError

if TYPE_CHECKING:
    from spy_plugin.benchmark.samples import Benchmark
    from spy_plugin.runs.metadata import RunMetadata

_EMBEDDED = {
    MINI: "the embedded benchmark",
    LAB: "the lab's test split",
    LAB_SMALL: "the test split of the lab's small size",
}
NAMES_OR_FOLDER = f"{', '.join(NAMES)}, or the folder of a release or of your own benchmark"


def add_benchmark_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--benchmark`, its short forms, and `--questions` with its companions.

    Args:
        required: False for a command that finds the benchmark in the record of a run.
    """
    source = parser.add_mutually_exclusive_group(required=required)
    inferred = "" if required else " (default: the one that the run recorded)"
    source.add_argument(
        "--benchmark", metavar="NAME|DIR", help=f"one of {NAMES_OR_FOLDER}{inferred}"
    )
    for name, words in _EMBEDDED.items():
        source.add_argument(
            f"--{name}",
            dest="benchmark",
            action="store_const",
            const=name,
            help=f"short for --benchmark {name}: {words}",
        )
    source.add_argument(
        "--release",
        type=any_path,
        metavar="DIR",
        help="short for --benchmark DIR: root of an official release",
    )
    source.add_argument(
        "--questions",
        type=file_path,
        metavar="FILE",
        help="a benchmark in the official layout: questions.json, or a .jsonl of it or of the "
        "official scripts' rows",
    )
    parser.add_argument(
        "--labels",
        type=file_path,
        metavar="FILE",
        help="with --questions: label2text.json (default: beside the questions)",
    )
    parser.add_argument(
        "--images",
        type=any_path,
        metavar="DIR",
        help="with --questions: where image_path begins (default: the questions' folder)",
    )


def is_named(args: argparse.Namespace) -> bool:
    """Return whether options of a benchmark are given."""
    named = args.benchmark or args.release or args.questions
    return bool(named or args.labels or args.images)  # without --questions, they are refused


def open_from_arguments(args: argparse.Namespace) -> Benchmark:
    """Open the benchmark that the options name.

    Raises:
        SpyBenchError: no benchmark has this name.
        DataError: the release or the files cannot be read.
    """
    from spy_plugin.benchmarks import open_files, open_folder, open_named

    if args.questions:
        return open_files(args.questions, args.labels, args.images)
    if args.labels or args.images:
        raise SpyBenchError("--labels and --images go with --questions. Add --questions FILE.")
    return open_named(args.benchmark) if args.benchmark else open_folder(args.release)


def open_for_answers(args: argparse.Namespace, answers: Path) -> Benchmark:
    """Open the benchmark of a file of answers: the one that the options name, else its record.

    What was inferred is printed, beside what a command prints for programs.

    Raises:
        SpyBenchError: neither names one, or they name two.
        DataError: the record is broken, or the benchmark cannot be read.
    """
    from spy_plugin.judging.metadata import record_of_answers

    return _open(args, answers, record_of_answers(answers))


def _open(
    args: argparse.Namespace, answers: Path, record: tuple[Path, RunMetadata] | None
) -> Benchmark:
    from spy_plugin.benchmarks import MissingDataError, open_benchmark

    if is_named(args):
        benchmark = open_from_arguments(args)
        if record is not None and not args.questions:
            refuse_contradiction(args, benchmark.name, *record)
        return benchmark
    if record is None:
        if not answers.exists():
            raise DataError("cannot be read (no such file)", "Check the path.", path=answers)
        raise SpyBenchError(
            f"{answers}: no run file beside it says which benchmark was answered. Add --benchmark "
            f"NAME|DIR ({NAMES_OR_FOLDER})."
        )
    path, run = record
    own = run.benchmark.startswith(PREFIX)
    if known_name(run.benchmark) is None and not own:
        raise DataError(
            f"names the benchmark {run.benchmark!r}, and none is known by that name here",
            "Add --benchmark DIR with its folder.",
            path=path,
        )
    print(f"benchmark: {run.benchmark}, as {path.name} says", file=sys.stderr)
    try:
        return open_benchmark(run.benchmark)
    except MissingDataError as error:
        folder = "Or" if own else "If a release in a folder was answered,"
        raise MissingDataError(f"{error} {folder} add --benchmark DIR.") from None


def refuse_contradiction(
    args: argparse.Namespace, named: str, path: Path, run: RunMetadata
) -> None:
    """Refuse a benchmark by another name than a run's; revisions differ by their fingerprints.

    Args:
        named: Name of the benchmark that the options name.
        path: The file of the run's record.

    Raises:
        DataError: naming both.
    """
    if {named, run.benchmark} <= {OFFICIAL, UNPINNED} or named == run.benchmark:
        return
    option = " ".join(as_words(args))
    remedy = f"Leave out {option}, or give the file of {named}."
    if named.startswith(PREFIX) and named.partition("@")[0] == run.benchmark.partition("@")[0]:
        remedy = "The form has changed since: restore it, or let the model answer again."
    raise DataError(
        f"names the benchmark {run.benchmark}, but {option} names {named}", remedy, path=path
    )


def as_words(args: argparse.Namespace) -> list[str]:
    """Return the same options as words, for a command line to print."""
    if args.benchmark:
        short = args.benchmark in _EMBEDDED
        return [f"--{args.benchmark}"] if short else ["--benchmark", args.benchmark]
    names = ("release", "questions", "labels", "images")
    given = {name: getattr(args, name) for name in names}
    return [word for name, value in given.items() if value for word in (f"--{name}", str(value))]


def environment_of(args: argparse.Namespace, benchmark: str) -> str:
    """Return what comes before a host's command: a variable with the folder that is named."""
    named = args.benchmark if args.benchmark and not is_name(args.benchmark) else None
    folder = args.release or named
    variable = OWN_VARIABLE if benchmark.startswith(PREFIX) else RELEASE_VARIABLE
    return f"{variable}={shlex.quote(str(folder))} " if folder else ""


def words_not_recorded(args: argparse.Namespace) -> list[str]:
    """Return what a next command needs of these options: nothing if the run file has the name."""
    return [] if args.benchmark and known_name(args.benchmark) else as_words(args)
