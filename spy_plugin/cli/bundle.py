"""`spy-bench bundle`: put a run into one file that others can check."""

from __future__ import annotations

import argparse
import shlex

from spy_plugin.cli.benchmark_options import (
    add_benchmark_arguments,
    is_named,
    open_from_arguments,
    words_not_recorded,
)
from spy_plugin.cli.option_types import any_path, file_path
from spy_plugin.cli.resampling_options import add_resampling_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "run", type=any_path, metavar="RUN", help="results, as for spy-bench report"
    )
    parser.add_argument(
        "--out", type=file_path, required=True, metavar="FILE", help="for example m.spybundle.zip"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    add_benchmark_arguments(parser, required=False)
    add_resampling_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the bundle."""
    from spy_plugin.sharing.bundle import make_bundle

    remarks = make_bundle(
        args.run,
        args.out,
        benchmark=open_from_arguments(args) if is_named(args) else None,
        force=args.force,
        resamples=args.resamples,
        seed=args.seed,
    )
    for remark in remarks:
        print(f"note: {remark}")
    print(f"bundle: {args.out}")
    words = ["spy-bench", "verify", str(args.out), *words_not_recorded(args)]
    print(f"check:  {shlex.join(words)}")
    return 0
