"""`spy-bench report`: results of any host -> one report."""

from __future__ import annotations

import argparse
from pathlib import Path

from spy_plugin.errors import SpyBenchError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """ReportOptions of the command."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a work folder of VLMEvalKit, an output folder of lmms-eval, a folder of our own, or "
        "an official eval/*.jsonl",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="goes here")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="RUN=NAME",
        help="the model's name for this RUN, over what its files say; may be repeated",
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
        "--pictures", action="store_true", help="show the pictures of the example samples"
    )
    parser.add_argument("--resamples", type=int, default=2000, metavar="B")
    parser.add_argument("--seed", type=int, default=0, help="of resamples and examples")


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    if args.resamples < 1:
        raise SpyBenchError(f"--resamples is {args.resamples}. Give a positive number.")
    from spy_plugin.report import FILES, ReportOptions, combine

    options = ReportOptions(
        names=dict(_name(text) for text in args.name),
        compare=[(first, second) for first, second in args.compare],
        pictures=args.pictures,
        resamples=args.resamples,
        seed=args.seed,
    )
    unknown = set(options.names) - set(args.runs)
    if unknown:
        listed = ", ".join(sorted(map(str, unknown)))
        raise SpyBenchError(f"--name is given for {listed}, which is no RUN of this command.")
    report = combine(args.runs, args.out, options)
    for note in report.notes:
        print(f"note: {note}")
    for name in FILES:
        print(args.out / name)
    return 0


def _name(text: str) -> tuple[Path, str]:
    path, equals, name = text.rpartition("=")
    if not (equals and path and name):
        raise SpyBenchError(f"--name {text!r} is not RUN=NAME. Write it like runs/a=Qwen2-VL-7B.")
    return Path(path), name
