"""`spy-bench report`: combine the results of any host into one report."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from spy_plugin.cli.resampling_options import add_resampling_arguments
from spy_plugin.errors import SpyBenchError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """ReportOptions of the command."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a work folder of VLMEvalKit, an output folder of lmms-eval, a folder of *_verdicts."
        "jsonl, a folder of the official scripts (results, eval, resp), or a verdict file",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where it goes")
    parser.add_argument(
        "--name",
        type=_name,
        action="append",
        default=[],
        metavar="RUN=NAME",
        help="model name for this RUN, instead of what its files say; may be repeated",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        action="append",
        default=[],
        metavar=("MODEL", "MODEL"),
        help="compare two models label by label, on the same pictures; may be repeated",
    )
    parser.add_argument(
        "--pictures", action="store_true", help="include the pictures of the example samples"
    )
    add_resampling_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report and print where it is."""
    from spy_plugin.report import FILES, ReportOptions, combine

    options = ReportOptions(
        names=dict(args.name),
        compare=[(first, second) for first, second in args.compare],
        pictures=args.pictures,
        resamples=args.resamples,
        seed=args.seed,
        processes=os.cpu_count() or 1,
    )
    unknown = set(options.names) - set(args.runs)
    if unknown:
        listed = ", ".join(sorted(map(str, unknown)))
        raise SpyBenchError(
            f"--name is given for {listed}, which is not a RUN of this command. Add it to the RUNs."
        )
    report = combine(args.runs, args.out, options)
    for note in report.notes:
        print(f"note: {note}")
    for name in FILES:
        print(args.out / name)
    return 0


def _name(text: str) -> tuple[Path, str]:
    path, equals, name = text.rpartition("=")
    if not (equals and path and name):
        raise argparse.ArgumentTypeError(f"must be RUN=NAME, as in runs/a=My-VLM, not {text!r}")
    return Path(path), name
