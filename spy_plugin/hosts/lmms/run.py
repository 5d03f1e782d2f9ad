"""lmms-eval's own command line, in this process, followed by the combined report."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from spy_plugin.errors import (
    ALLOW_FAILED,
    SAMPLES_FAILED,
    DataError,
    MissingDependencyError,
    SpyBenchError,
    system_reason,
)

DEFAULT_OUTPUT = "outputs/lmms-eval"
REPORT_FOLDER = "spy_report"


def run_lmms_eval(words: Sequence[str]) -> int:
    """Run the host.

    An evaluation without `--output_path` gets one, since a report needs files to read.

    Returns:
        0 if an evaluation left results or none was asked for, otherwise 1 (the host itself returns
        0 when a run failed); `SAMPLES_FAILED` if it left results, but samples of ours failed and
        `ALLOW_FAILED` is not among the words; 2 for a wrong command line.

    Raises:
        MissingDependencyError: lmms-eval is not installed.
        SpyBenchError: data are missing, a judge cannot be built, or results cannot be written; the
            host would find out after it has loaded the model, or after all answers.
    """
    if find_spec("lmms_eval") is None:
        raise MissingDependencyError("lmms-eval", "lmms")
    allow_failed = ALLOW_FAILED in words
    out, tasks, words = _output([word for word in words if word != ALLOW_FAILED])
    first = not int(os.environ.get("RANK", "0"))  # of several processes, which alone writes
    before = _results(out)

    from spy_plugin.compat.torchao import quiet_torchao
    from spy_plugin.compat.torchvision import declare_missing_ops

    declare_missing_ops()
    quiet_torchao()
    from lmms_eval.cli.dispatch import main

    from spy_plugin.hosts.hooks import after_import
    from spy_plugin.hosts.lmms.patches import explain_names

    after_import("lmms_eval.__main__", explain_names)
    sys.argv = ["lmms-eval", *words]
    if out is not None:
        _check_judges(tasks)
        if first:
            _need_folder(out)
    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, str):  # as the interpreter does
            print(stop.code, file=sys.stderr)
        if stop.code:
            return stop.code if isinstance(stop.code, int) else 1
    if out is None or not first:
        return 0
    new = _results(out) - before
    if not new:
        print("spy-bench: lmms-eval left no results; its log above says why", file=sys.stderr)
        return 1
    _report(out)
    failed = sum(map(_failed_samples, new))
    if failed:
        print(
            f"spy-bench: {failed} samples failed and count nowhere; the answers' file says why. "
            f"Run again to ask them again, or accept that with {ALLOW_FAILED}.",
            file=sys.stderr,
        )
    return SAMPLES_FAILED if failed and not allow_failed else 0


def _output(words: list[str]) -> tuple[Path | None, list[str], list[str]]:
    """Return the folder of an evaluation's results, None without one, its tasks, and the words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--tasks", default="")
    parser.add_argument("--output_path")
    known, _ = parser.parse_known_args(words)
    if not known.tasks or known.tasks.startswith("list") or {"-h", "--help"} & set(words):
        return None, [], words
    if not known.output_path:
        words = [*words, "--output_path", DEFAULT_OUTPUT]
    return Path(known.output_path or DEFAULT_OUTPUT), known.tasks.split(","), words


def _need_folder(out: Path) -> None:
    """Make the folder of the results, which the host writes at the end only.

    Raises:
        SpyBenchError: it is a file, or cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise SpyBenchError(
            f"{out}: results cannot be written there ({system_reason(error)}). Name a folder "
            "that you may write to with --output_path."
        ) from error


def _check_judges(tasks: Sequence[str]) -> None:
    """Check the data of each task, and the judge of ours."""
    from spy_plugin.hosts.lmms.general_data import check_general_data
    from spy_plugin.hosts.lmms.judging import check_judge
    from spy_plugin.hosts.lmms.samples import TASKS

    for name in tasks:
        group = name.removesuffix("_report")
        for task in (name, f"{group}_distractors", f"{group}_no_distractors"):
            if task in TASKS:
                check_judge(task)
    check_general_data(tasks)


def _results(out: Path | None) -> set[Path]:
    return set(out.rglob("*_results.json")) if out else set()


def _failed_samples(path: Path) -> int:
    """Return how many samples of our tasks failed, by the host's file of results.

    Raises:
        DataError: the host did not write it to its end.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read ({error})", "Run it again.", path=path) from error
    rows = results.get("results") if isinstance(results, dict) else None
    counts = [row.get("samples_failed,none") for row in (rows or {}).values()]
    return sum(count for count in counts if isinstance(count, int))


def _report(out: Path) -> None:
    from spy_plugin.report import combine

    try:
        combine([out], out / REPORT_FOLDER)
    except SpyBenchError as error:
        print(f"spy-bench: no combined report: {error}", file=sys.stderr)
    else:
        print(f"Combined report: {out / REPORT_FOLDER / 'report.html'}")
