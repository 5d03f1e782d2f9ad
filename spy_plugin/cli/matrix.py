"""`spy-bench matrix`: many models under several conditions, judged, with one report."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.cli.option_types import file_path
from spy_plugin.errors import DataError, MissingDependencyError
from spy_plugin.files.writing import refuse_file_in_the_way

if TYPE_CHECKING:
    from spy_plugin.benchmark.samples import Benchmark
    from spy_plugin.cli.matrix_plan import Matrix

PAGE = "progress.txt"
REPORT = "report"

_RESUME = "to resume: run the same command again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "file", type=file_path, metavar="FILE.yaml", help="models, conditions, judge"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the commands, GPUs, estimated hours and cost; run nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Run what is missing, then report; or only print what that would be."""
    from spy_plugin.cli.matrix_plan import chains, read_matrix

    matrix = read_matrix(args.file)
    _refuse_report(matrix)
    benchmark = _benchmark(matrix, args.file)
    if args.dry_run:
        from spy_plugin.cli.matrix_estimate import estimate_matrix, render

        _refuse_models(matrix, benchmark, api_key="dry-run")
        with contextlib.suppress(MissingDependencyError):  # it may be installed where it will run
            _refuse_judge(matrix, benchmark, api_key="dry-run")
        print(render(estimate_matrix(matrix, benchmark), benchmark))
        return 0
    _refuse_models(matrix, benchmark)
    _refuse_judge(matrix, benchmark)
    gpus = any(step.gpus for chain in chains(matrix) for step in chain.steps)
    return _run_on_ray(matrix) if gpus else _run(matrix)


def _refuse_report(matrix: Matrix) -> None:
    """Refuse what the report would refuse after all runs; makes no folder.

    Raises:
        SpyBenchError: a file is in the way.
        DataError: something else is where the sample browser goes.
    """
    from spy_plugin.report import browser

    report = matrix.out / REPORT
    refuse_file_in_the_way(report, str(report), "Name another folder as `out`.")
    browser.refuse_foreign(report / browser.FOLDER)


def _refuse_models(matrix: Matrix, benchmark: Benchmark, *, api_key: str | None = None) -> None:
    """Refuse a model that could not even be asked for; one that cannot be loaded fails alone.

    Raises:
        SpyBenchError: an unknown name, no key, or options that do not fit.
    """
    from spy_plugin.cli.main import parse
    from spy_plugin.cli.matrix_plan import chains
    from spy_plugin.cli.model_options import model_from_arguments
    from spy_plugin.models.base import LOCAL_BACKENDS

    for chain in chains(matrix):
        args = parse(list(chain.steps[0].words))[0]
        if args.backend in LOCAL_BACKENDS:
            _refuse_local_name(args.model)
        with contextlib.suppress(MissingDependencyError):
            model_from_arguments(args, benchmark, api_key=api_key).close()


def _refuse_local_name(name: str) -> None:
    """Refuse what is neither a folder, nor a hub id, nor a name of ours; the hub is not asked.

    Raises:
        SpyBenchError: it is none of them; the closest names are given.
    """
    from spy_plugin.models.checkpoint import check_name
    from spy_plugin.models.packaged import PACKAGED
    from spy_plugin.models.repositories import split_revision
    from spy_plugin.registry.catalog import find_model

    bare = split_revision(name)[0]
    if "/" in bare or Path(bare).exists():
        check_name(bare)
    elif bare not in PACKAGED:
        find_model(bare)


def _refuse_judge(matrix: Matrix, benchmark: Benchmark, *, api_key: str | None = None) -> None:
    """Refuse a judge that would be refused only after the first model has answered everything.

    Raises:
        SpyBenchError: an unknown name, no key, or a package that is not installed.
    """
    from spy_plugin.cli.main import parse
    from spy_plugin.cli.matrix_plan import chains
    from spy_plugin.cli.model_options import judge_from_arguments

    step = next(step for step in chains(matrix)[0].steps if step.words[0] == "judge")
    args = parse(list(step.words))[0]
    judge_from_arguments(args, args.judge, benchmark.protocol, api_key=api_key).close()


def _run_on_ray(matrix: Matrix) -> int:
    """Run with one cluster for all commands, which share its GPUs as there is room."""
    from spy_plugin.models.on_ray.cluster import Connection, require_ray

    require_ray()
    with Connection(matrix.ray):
        import ray

        address = ray.get_runtime_context().gcs_address
        return _run(matrix.model_copy(update={"ray": address}))


def _run(matrix: Matrix) -> int:
    from spy_plugin.cli.matrix_plan import chains
    from spy_plugin.cli.matrix_run import run_chains
    from spy_plugin.report import ReportOptions, combine

    out, page = matrix.out / REPORT, matrix.out / PAGE
    out.mkdir(parents=True, exist_ok=True)  # that it can be written shows now, not after all runs
    print(f"progress: {page}, messages: {matrix.out / 'logs'}", flush=True)
    try:
        failed = run_chains(chains(matrix), matrix.parallel, page)
    except KeyboardInterrupt:
        print(f"stopped; {_RESUME}", flush=True)
        raise
    for step in failed:
        print(f"failed: {step.title}; its last messages are in {step.log}")
    if any(matrix.out.glob("*_verdicts.jsonl")):
        combine([matrix.out], out, ReportOptions())
        print(f"report: {out / 'report.html'}")
    if failed:
        print(_RESUME)
    return int(bool(failed))


def _benchmark(matrix: Matrix, path: Path) -> Benchmark:
    from spy_plugin.cli.benchmark_options import open_from_arguments
    from spy_plugin.cli.main import parse
    from spy_plugin.cli.matrix_plan import chains

    for chain in chains(matrix):
        for step in chain.steps:
            return open_from_arguments(parse(list(step.words))[0])
    raise DataError("names no model", "Add one.", path=path)
