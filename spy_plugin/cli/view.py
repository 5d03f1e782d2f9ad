"""`spy-bench view`: every sample of some results in a browser."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from spy_plugin.cli.option_types import folder_path, port
from spy_plugin.cli.pages import show_page
from spy_plugin.cli.report import add_run_arguments, names_of
from spy_plugin.errors import SpyBenchError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_run_arguments(parser)
    parser.add_argument(
        "--static",
        type=folder_path,
        metavar="DIR",
        help="write the pages into this folder, for any web server or none, and end",
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="with --static: include small copies of the official release's pictures",
    )
    parser.add_argument("--no-open", action="store_true", help="print the address, open nothing")
    parser.add_argument(
        "--port", type=port, default=0, metavar="N", help="on this port (default: one that is free)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the pages; show them until Ctrl-C, or leave them in a folder."""
    from spy_plugin.report import ReportOptions, browser
    from spy_plugin.report.build import read_verdict_files

    if args.static:
        browser.refuse_foreign(args.static)
    elif args.pictures:
        raise SpyBenchError("--pictures needs --static DIR. Without it, all pictures are shown.")
    processes = os.cpu_count() or 1
    notes: list[str] = []
    options = ReportOptions(names=names_of(args), processes=processes)
    runs = browser.browsed(read_verdict_files(args.runs, options, notes))
    if not runs:
        raise SpyBenchError(
            "these RUNs hold general scores alone, and no verdicts on samples. Name the RUNs of "
            "SPY-Bench."
        )
    for note in notes:
        print(f"note: {note}")
    if args.static:
        done = browser.write_browser(runs, args.static, pictures=args.pictures, processes=processes)
        print(f"{done.samples} samples: {args.static / 'index.html'}")
        return 0
    with TemporaryDirectory(prefix="spy-bench-view-") as name:
        folder = Path(name) / browser.FOLDER
        done = browser.write_browser(
            runs, folder, pictures=True, copy_pictures=False, processes=processes
        )
        with browser.BrowserServer(folder, done.pictures, port=args.port) as server:
            print(f"{done.samples} samples: {server.address}")
            try:
                if not args.no_open:
                    show_page(server)
                print("Ctrl-C ends it.", flush=True)
                server.serve()
            except KeyboardInterrupt:
                print("ended")
    return 0
