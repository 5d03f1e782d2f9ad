"""`spy-bench export-run`: export a file of answers as a finished run of VLMEvalKit."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.cli.benchmark_options import (
    add_benchmark_arguments,
    environment_of,
    open_for_answers,
)
from spy_plugin.cli.option_types import file_path
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.writing import naming, refuse_file_in_the_way

if TYPE_CHECKING:
    from spy_plugin.benchmark.records import Answer, Sample
    from spy_plugin.runs.metadata import RunMetadata

HOSTS = ("vlmeval",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("answers", type=file_path, help="answers, as `generate` wrote them")
    add_benchmark_arguments(parser, required=False)
    add_target(parser, required=True)


def add_target(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """The option `--as`, here and where answers are made."""
    parser.add_argument(
        "--as",
        dest="hand_to",
        nargs=2,
        metavar=("HOST", "DIR"),
        required=required,
        help="export the answers as a finished run of a host (vlmeval) in its --work-dir DIR",
    )


def run(args: argparse.Namespace) -> int:
    """Write the run and print the command with which the host judges it."""
    from spy_plugin.cli.judge_work import open_answers

    work = open_answers(args.answers, open_for_answers(args, args.answers))
    for remark in work.remarks:
        print(remark)
    give(args, work.answers, work.samples, work.run)
    return 0


def check(target: Sequence[str] | None, shard: object, dataset: str | None = None) -> None:
    """Refuse, before a model is asked, what cannot be exported afterwards.

    Raises:
        SpyBenchError: an unknown host, a part of a run, a data set that the host lacks, a folder
            that cannot be made, or a format that cannot be written.
    """
    from spy_plugin.hosts.vlmeval.names import VARIANTS
    from spy_plugin.hosts.vlmeval.predictions import prediction_suffix
    from spy_plugin.hosts.vlmeval.tables import check_format

    if target and target[0] not in HOSTS:
        raise SpyBenchError(f"--as {target[0]}: unknown. Use {', '.join(HOSTS)}.")
    if target and shard:
        raise SpyBenchError(
            f"--as takes whole runs, and this is part {shard}. Put all parts together with "
            "spy-bench merge, then use spy-bench export-run."
        )
    if target and dataset is not None and dataset not in VARIANTS:
        raise SpyBenchError(
            f"--as {target[0]}: VLMEvalKit has no data set {dataset} (validation splits have none; "
            "self-moderated runs have one only with distractors). Leave out --as, and judge with: "
            "spy-bench judge."
        )
    if target:
        refuse_file_in_the_way(Path(target[1]), f"--as {' '.join(target)}")
        check_format(prediction_suffix())


def give(
    args: argparse.Namespace, answers: Iterable[Answer], samples: Iterable[Sample], run: RunMetadata
) -> None:
    """Export answers, and print what was written and the command that judges it.

    Args:
        args: Name the benchmark, and the host and its folder with ``--as``.

    Raises:
        SpyBenchError: an unknown host, or a part of a run.
        DataError: the answers cannot be exported.
    """
    from spy_plugin.hosts.vlmeval.export_run import export_run

    target = args.hand_to
    check(target, run.options.get("shard"))
    with naming(Path(target[1])):
        exported = export_run(answers, samples, run.dataset, run.model, Path(target[1]))
    print(f"exported: {exported.prediction_file}")
    print(f"judge with: {environment_of(args, run.benchmark)}{exported.command}")
