"""lmms-eval's own command line, in this process, followed by the combined report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from spy_plugin.errors import MissingDependencyError, SpyBenchError

DEFAULT_OUTPUT = "outputs/lmms-eval"
REPORT_FOLDER = "spy_report"


def run_lmms_eval(words: Sequence[str]) -> int:
    """Run the host.

    An evaluation without `--output_path` gets one, since a report needs files to read.

    Returns:
        0 if an evaluation left results or none was asked for, otherwise 1 (the host itself returns
        0 when a run failed); 2 for a wrong command line.

    Raises:
        MissingDependencyError: lmms-eval is not installed.
    """
    if find_spec("lmms_eval") is None:
        raise MissingDependencyError("lmms-eval", "lmms")
    out, words = _output(list(words))
    before = _results(out)

    from spy_plugin.compat.torchao import quiet_torchao
    from spy_plugin.compat.torchvision import declare_missing_ops

    declare_missing_ops()
    quiet_torchao()
    from lmms_eval.cli.dispatch import main

    sys.argv = ["lmms-eval", *words]
    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, str):  # as the interpreter does
            print(stop.code, file=sys.stderr)
        if stop.code:
            return stop.code if isinstance(stop.code, int) else 1
    if out is None or int(os.environ.get("RANK", "0")):
        return 0
    if _results(out) == before:
        print("spy-bench: lmms-eval left no results; its log above says why", file=sys.stderr)
        return 1
    _report(out)
    return 0


def _output(words: list[str]) -> tuple[Path | None, list[str]]:
    """Return the folder of an evaluation's results, None without one, and the words with it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--tasks", default="")
    parser.add_argument("--output_path")
    known, _ = parser.parse_known_args(words)
    if not known.tasks or known.tasks.startswith("list") or {"-h", "--help"} & set(words):
        return None, words
    if known.output_path:
        return Path(known.output_path), words
    return Path(DEFAULT_OUTPUT), [*words, "--output_path", DEFAULT_OUTPUT]


def _results(out: Path | None) -> set[Path]:
    return set(out.rglob("*_results.json")) if out else set()


def _report(out: Path) -> None:
    from spy_plugin.report import combine

    try:
        combine([out], out / REPORT_FOLDER)
    except SpyBenchError as error:
        print(f"spy-bench: no combined report: {error}", file=sys.stderr)
    else:
        print(f"Combined report: {out / REPORT_FOLDER / 'report.html'}")
