"""`spy-bench export-results`: write scores where the Hugging Face hub looks for them."""

from __future__ import annotations

import argparse
import re
from urllib.parse import urlsplit

from spy_plugin.cli.option_types import any_path
from spy_plugin.cli.resampling_options import add_resampling_arguments
from spy_plugin.errors import SpyBenchError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "run", type=any_path, metavar="RUN", help="results, as for spy-bench report"
    )
    parser.add_argument(
        "folder", type=any_path, metavar="MODEL_FOLDER", help="the model, with its README.md if any"
    )
    parser.add_argument("--model", default="", metavar="NAME", help="only this model of RUN")
    parser.add_argument(
        "--dataset",
        type=_repo,
        metavar="OWNER/NAME",
        help="the benchmark's data set on the hub; also writes .eval_results/spy-bench.yaml, which "
        "names it",
    )
    parser.add_argument(
        "--source-url",
        type=_web_address,
        metavar="URL",
        help="where the results can be read in full",
    )
    parser.add_argument(
        "--source-name", default="", metavar="NAME", help="what that page is called"
    )
    parser.add_argument(
        "--push",
        type=_repo,
        metavar="OWNER/NAME",
        help="also open a pull request at this model on the hub, with the token in HF_TOKEN",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace scores of SPY-Bench that differ"
    )
    add_resampling_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the scores and print what changed."""
    from spy_plugin.report import ReportOptions, build_report
    from spy_plugin.sharing.hub_results import (
        Source,
        eval_entries,
        model_index_results,
        need_hub,
        rows_to_share,
    )
    from spy_plugin.sharing.model_folder import update_folder
    from spy_plugin.sharing.pull_request import open_pull_request, token_from_environment

    need_hub()
    if args.source_name and not args.source_url:
        raise SpyBenchError("--source-name needs an address. Add --source-url URL.")
    if not args.folder.is_dir():
        raise SpyBenchError(f"{args.folder} is not a folder. Give the folder of the model.")
    token = token_from_environment() if args.push else ""
    report = build_report([args.run], ReportOptions(resamples=args.resamples, seed=args.seed))
    rows = rows_to_share(report, args.model)
    for row in rows:
        counts = row.counts
        if counts and counts.expected and counts.verdicts < counts.expected:
            raise SpyBenchError(
                f"{row.id} is partial: {counts.verdicts} of {counts.expected} samples. Finish the "
                "run before its scores are shared."
            )
        if row.condition.judge and row.condition.judge.offline:
            name = row.condition.judge.name
            print(f"note: {row.id} was judged offline by {name}: a quick look")
    source = Source(args.source_url or "", args.source_name)
    results = model_index_results(rows, source)
    entries = eval_entries(rows, args.dataset, source) if args.dataset else []
    changed = update_folder(args.folder, results, entries, force=args.force)
    for path in changed:
        print(f"written: {path}")
    if not changed:
        print(f"{args.folder} has these scores already")
    if not args.dataset:
        print("note: no .eval_results: name the benchmark's data set on the hub with --dataset")
    if args.push:
        url = open_pull_request(args.push, results, entries, token=token, force=args.force)
        print(f"pull request: {url}" if url else f"{args.push} has these scores already")
    return 0


def _repo(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"must be OWNER/NAME, not {text!r}")
    return text


def _web_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # for example an unclosed bracket
        fine = False
    if not fine or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"must be a whole http address, not {text!r}")
    return text
