"""`spy-bench report`: combine the results of any host into one report."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from spy_plugin.cli.option_types import any_path, folder_path
from spy_plugin.cli.resampling_options import add_resampling_arguments
from spy_plugin.errors import SpyBenchError

OUT = Path("report")
FOLDER = "samples"
"""The folder of the sample browser; see `spy_plugin.report.browser`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_run_arguments(parser)
    parser.add_argument(
        "--out",
        type=folder_path,
        metavar="DIR",
        help=f"where it goes (default: {OUT}, if that is new or holds a report)",
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
        "--pictures",
        action="store_true",
        help="include the pictures: of the example samples, and small copies of all in the sample "
        "browser",
    )
    parser.add_argument(
        "--no-samples",
        action="store_true",
        help=f"do not write the sample browser, the folder {FOLDER} with every answer",
    )
    add_resampling_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report and print where it is."""
    from spy_plugin.report import FILES, ReportOptions, combine

    out = args.out or _default_out()
    options = ReportOptions(
        names=names_of(args),
        samples=not args.no_samples,
        compare=[(first, second) for first, second in args.compare],
        pictures=args.pictures,
        resamples=args.resamples,
        seed=args.seed,
        processes=os.cpu_count() or 1,
    )
    report = combine(args.runs, out, options)
    for note in report.notes:
        print(f"note: {note}")
    for name in FILES:
        print(out / name)
    if options.samples and any(row.counts for row in report.rows):
        print(out / FOLDER / "index.html")
    return 0


def _default_out() -> Path:
    """Return the folder of a report that was given no name.

    Raises:
        SpyBenchError: it exists and holds something else.
    """
    if OUT.exists() and not (OUT / "report.json").is_file() and not is_empty(OUT):
        raise SpyBenchError(
            f"{OUT} exists and does not hold a report. Name a folder for this one: --out DIR"
        )
    return OUT


def is_empty(folder: Path) -> bool:
    """Whether a path is a folder that holds nothing."""
    return folder.is_dir() and not any(folder.iterdir())


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the results to read, and the names of their models."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=any_path,
        metavar="RUN",
        help="a work folder of VLMEvalKit, an output folder of lmms-eval, a log of inspect_ai or a "
        "folder of them, a folder of *_verdicts.jsonl, a folder of the official scripts (results, "
        "eval, resp), or a verdict file",
    )
    parser.add_argument(
        "--name",
        type=_name,
        action="append",
        default=[],
        metavar="RUN=NAME",
        help="model name for this RUN, instead of what its files say; may be repeated",
    )


def names_of(args: argparse.Namespace) -> dict[Path, str]:
    """Return the names that were given to RUNs.

    Raises:
        SpyBenchError: one is given to what is not a RUN.
    """
    names: dict[Path, str] = dict(args.name)
    unknown = set(names) - set(args.runs)
    if unknown:
        listed = ", ".join(sorted(map(str, unknown)))
        raise SpyBenchError(
            f"--name is given for {listed}, which is not a RUN of this command. Add it to the RUNs."
        )
    return names


def _name(text: str) -> tuple[Path, str]:
    path, equals, name = text.rpartition("=")
    if not (equals and path and name):
        raise argparse.ArgumentTypeError(f"must be RUN=NAME, as in runs/a=My-VLM, not {text!r}")
    return Path(path), name
