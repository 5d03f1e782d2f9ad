"""`spy-bench new`: a benchmark from one's own pictures: its form, checks, drafts and review."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from spy_plugin.cli.model_options import add_asking_arguments, split_backend
from spy_plugin.cli.option_types import any_path, folder_path, non_negative_int, port
from spy_plugin.errors import SpyBenchError

if TYPE_CHECKING:
    from spy_plugin.benchmark.own_form import Form
    from spy_plugin.own.checking import Checked
    from spy_plugin.own.reviewing import Reviewed
    from spy_plugin.report.browser import BrowserServer

_SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("folder", type=folder_path, metavar="DIR", help="folder of the form")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument(
        "--pictures",
        type=any_path,
        metavar="FOLDER",
        help="write a form for the pictures in a folder",
    )
    action.add_argument(
        "--example", action="store_true", help="write a filled form of 12 drawn pictures"
    )
    action.add_argument(
        "--from",
        dest="source",
        type=any_path,
        metavar="SOURCE",
        help="write a form of a benchmark in the official layout, or of an exported Hugging Face "
        "dataset",
    )
    action.add_argument(
        "--check",
        action="store_true",
        help="say what is missing or wrong, show prompts, and draw contact_sheet.jpg",
    )
    action.add_argument(
        "--draft", action="store_true", help="fill in questions for rows that have a label only"
    )
    action.add_argument(
        "--ask",
        metavar="MODEL",
        help="let openai:NAME, vllm:NAME or transformers:NAME draft rows for the pictures",
    )
    action.add_argument("--review", action="store_true", help="confirm drafts one by one")
    parser.add_argument(
        "--browser", action="store_true", help="with --review: on a page of this machine's browser"
    )
    parser.add_argument(
        "--no-open", action="store_true", help="with --browser: print the address, open nothing"
    )
    parser.add_argument(
        "--port",
        type=port,
        default=0,
        metavar="N",
        help="with --browser: on this port (default: one that is free)",
    )
    parser.add_argument("--force", action="store_true", help="replace a form that exists")
    parser.add_argument(
        "--preview",
        type=non_negative_int,
        default=2,
        metavar="N",
        help="with --check: items whose prompts are shown (default: 2)",
    )
    add_asking_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    if args.force and not (args.pictures or args.example or args.source):
        raise SpyBenchError("--force goes with --pictures, --example or --from. Leave it out.")
    if args.browser and not args.review:
        raise SpyBenchError("--browser goes with --review. Leave it out.")
    if (args.no_open or args.port) and not args.browser:
        raise SpyBenchError("--no-open and --port go with --review --browser. Leave them out.")
    if args.pictures:
        return _pictures(args)
    if args.example:
        return _example(args)
    if args.source:
        return _import(args)
    if args.check:
        return _check(args.folder, args.preview)
    if args.draft:
        return _draft(args.folder)
    return _review(args) if args.review else _ask(args)


def _pictures(args: argparse.Namespace) -> int:
    from spy_plugin.own.writing import new_form

    count = new_form(args.folder, args.pictures, force=args.force)
    print(f"{count} pictures, a row for each in {args.folder / 'items.csv'}")
    print(f"fill in that file and {args.folder / 'benchmark.yaml'}")
    print(f"then:  spy-bench new {quote(str(args.folder))} --check")
    return 0


def _example(args: argparse.Namespace) -> int:
    from spy_plugin.benchmarks import is_name
    from spy_plugin.own.example import write_example

    count = write_example(args.folder, force=args.force)
    print(f"{count} pictures and their form in {args.folder}")
    print(f"check: spy-bench new {quote(str(args.folder))} --check")
    # A name comes before a folder: one that is called own or mini is meant as ./own, ./mini.
    folder = "./" * is_name(str(args.folder)) + str(args.folder)
    print(
        f"run:   spy-bench generate --benchmark {quote(folder)} --backend policy "
        "--model spy-literal"
    )
    return 0


def _import(args: argparse.Namespace) -> int:
    from spy_plugin.own.importing import import_benchmark

    done = import_benchmark(args.folder, args.source, force=args.force)
    where = f"{done.pictures:,} pictures written" if done.pictures else "pictures used in place"
    print(f"{done.items:,} items in {args.folder}; {where}")
    if done.other_words:
        print(
            "the prompts are the original's; the judge's words and the later turns are the "
            "built-in ones, since a form carries none: figures are not those of the original"
        )
    print(f"check: spy-bench new {quote(str(args.folder))} --check")
    return 0


def _check(folder: Path, count: int) -> int:
    from spy_plugin.own.checking import check, preview
    from spy_plugin.own.contact_sheet import draw_contact_sheet, sheet_file

    checked = check(folder)
    if checked.form.content is not None:
        for row, samples in preview(checked.form, count):
            print(f"--- {row.id}, {row.picture}: {len(samples)} samples with distractors")
            for sample in samples:
                print(f"\n[{sample.sample_id}]\n{sample.prompt}")
            print()
        sheet = sheet_file(folder)
        shown = draw_contact_sheet(checked.form.image_root, checked.form.rows, sheet)
        print(f"contact sheet of {shown} pictures: {sheet}")
    return _verdict(folder, checked)


def _verdict(folder: Path, checked: Checked) -> int:
    if checked.unused:
        names = ", ".join(checked.unused[:5])
        print(f"{len(checked.unused)} pictures have no row: {names}")
    for problem in checked.problems[:_SHOWN]:
        print(problem)
    if len(checked.problems) > _SHOWN:
        print(f"... and {len(checked.problems) - _SHOWN} more")
    if checked.problems:
        print(f"{len(checked.problems)} problem(s)")
        return 1
    if checked.benchmark is None:
        raise SpyBenchError(f"{folder} could not be opened. Run the command again.")
    pictures = len({item.image_path for item in checked.benchmark.items})
    samples = sum(1 for _ in checked.benchmark.samples())
    print(
        f"{checked.benchmark.name}: {len(checked.benchmark.items)} items on {pictures} pictures, "
        f"{samples} samples with distractors; no problems"
    )
    return 0


def _read(folder: Path) -> Form:
    """Read a form whose rows are to be changed.

    Raises:
        DataError: its `benchmark.yaml` has a problem, so that no row was read.
    """
    from spy_plugin.benchmark.own_form import read_form, refusal

    form = read_form(folder)
    if form.content is None:
        raise refusal(form.problems, folder)
    return form


def _draft(folder: Path) -> int:
    from spy_plugin.own.drafting import draft_rows
    from spy_plugin.own.writing import rewriting, write_rows

    form = _read(folder)
    with rewriting(form):
        found = draft_rows(form)
        if found.drafted:
            write_rows(form.items_file, found.rows, form.delimiter)
    print(f"{found.drafted} rows drafted from templates; no picture left this machine")
    if found.unlabelled:
        print(f"{found.unlabelled} rows have no known label: name one, or let a model: --ask MODEL")
    if found.drafted:
        print(f"add the ground truths and confirm:  spy-bench new {quote(str(folder))} --review")
    return 0


def _ask(args: argparse.Namespace) -> int:
    from spy_plugin.cli.model_options import drafting_model
    from spy_plugin.cli.progress import progress_bar
    from spy_plugin.own.asking import ask_drafts, open_pictures

    form = _read(args.folder)
    waiting = open_pictures(form)
    if not waiting:
        print("no picture has an empty row: nothing to ask about")
        return 0
    backend, _ = split_backend(args.ask)
    if backend == "openai" and not args.base_url:
        raise SpyBenchError(
            "pictures leave this machine only to a server that you name. Add --base-url URL, or "
            "use vllm:NAME or transformers:NAME, which run here."
        )
    kept = f"Drafts so far are kept in {form.items_file}. "
    with drafting_model(args) as model:
        where = f"are sent to {model.server}" if backend == "openai" else "stay on this machine"
        print(f"{len(waiting)} pictures {where}; {model.name} drafts", flush=True)
        with progress_bar(
            model.name, len(waiting), stopped=lambda: kept, status=model.status, unit="picture"
        ) as progress:
            found = ask_drafts(form, model, progress=progress)
    print(
        f"{found.pictures} pictures asked about, {found.drafted} rows drafted, {found.nothing} "
        f"show none of the labels, {len(found.problems)} left out"
    )
    for problem in found.problems[:_SHOWN]:
        print(f"  {problem}")
    if found.drafted:
        print(f"confirm:  spy-bench new {quote(str(args.folder))} --review")
    return 0 if found.drafted or found.nothing else 1


def _review(args: argparse.Namespace) -> int:
    from spy_plugin.own.reviewing import review

    form = _read(args.folder)
    if not any(row.draft for row in form.rows):
        print("no drafts")
        return 0
    done = _review_in_browser(form, args) if args.browser else review(form)
    print(
        f"\n{done.accepted} accepted ({done.edited} of them edited), {done.dropped} dropped, "
        f"{done.open} drafts left"
    )
    if done.open:
        more = " --browser" * args.browser
        print(f"resume:  spy-bench new {quote(str(args.folder))} --review{more}")
    else:
        print(f"check:   spy-bench new {quote(str(args.folder))} --check")
    return 0


def _review_in_browser(form: Form, args: argparse.Namespace) -> Reviewed:
    from spy_plugin.cli.pages import show_page
    from spy_plugin.own.browser_review import review_in_browser

    def announce(server: BrowserServer) -> None:
        print(f"{sum(bool(row.draft) for row in form.rows)} drafts: {server.address}")
        print("Each decision is written at once. Ctrl-C ends the review.", flush=True)
        if not args.no_open:
            show_page(server)

    return review_in_browser(form, announce, port=args.port)
