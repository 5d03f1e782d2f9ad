"""Measure the sample browser on a full set: writing it, and using it in Chromium.

    python -m benchmarks.report_samples [--models 21] [--items 6540] [--out FILE.md]

The runs are those of `samples_workload.py`. A headless Chromium, driven by Playwright, opens the
pages as files. A filter's time runs from the change of the form to the frame after the new list;
that of a search includes the pause after the last key (200 ms), and the first one the loading of
all chunks of one model's answers.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import shutil
import statistics
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.report_runs import CLI, measure
from benchmarks.samples_workload import write_release, write_runs

REPEATS = 5
GOALS = {"first paint": 1000, "filter": 200, "search": 1000}
"""Milliseconds."""

FILTERS: dict[str, tuple[str, str]] = {
    "label": ("label", "a49_phone"),
    "scenario": ("scenario", "s3"),
    "role": ("role", "conflict"),
    "side": ("side", "private"),
    "expected outcome": ("expected", "reject"),
    "outcome": ("outcome", "respond"),
    "value": ("value", "discloses the value"),
}

CHANGE = """
async ([name, value]) => {
  const rows = document.getElementById("rows");
  const field = document.forms[0].elements[name];
  const start = performance.now();
  const drawn = new Promise((done) =>
    new MutationObserver((_, watcher) => { watcher.disconnect(); done(); })
      .observe(rows, { childList: true }));
  if (field.type === "checkbox") field.checked = value; else field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await drawn;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
}
"""
"""Change a field of the form; return the milliseconds until the new list is on the screen."""

CHOOSE_ALL = """
() => {
  for (const box of document.querySelectorAll("input[name=c], input[name=m]")) box.checked = true;
  document.getElementById("all-models").click();
}
"""


def main() -> None:
    """Write the runs and the browser, use it, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", type=int, default=21)
    parser.add_argument("--items", type=int, default=6_540, help="each has five samples")
    parser.add_argument("--out", type=Path, help="write the table here, too")
    parser.add_argument(
        "--pages", type=Path, help="only use these pages, which were written before"
    )
    args = parser.parse_args()
    if args.pages:
        print("\n".join(use(args.pages / "index.html")))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SPY_BENCH_RELEASE"] = str(write_release(folder / "release", args.items))
        write_runs(folder / "runs", folder / "release", args.models)
        pages = folder / "pages"
        command = [*CLI, "view", str(folder / "runs"), "--static", str(pages)]
        seconds, busy, memory = measure(command)
        sizes = [path.stat().st_size for path in pages.rglob("*") if path.is_file()]
        lines = [
            f"{args.models} models x 2 conditions x {5 * args.items:,} samples; "
            f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
            f"{date.today()}, load {os.getloadavg()[0]:.1f} at the end.",
            "",
            "| writing the folder | |",
            "|---|---|",
            f"| time | {seconds:.0f} s ({busy:.0f} s of processor time) |",
            f"| memory of the largest process | {memory:.0f} MiB |",
            f"| size of the runs' files | {size_of(folder / 'runs'):.0f} MiB |",
            f"| size of the folder | {sum(sizes) / 2**20:.0f} MiB in {len(sizes):,} files |",
            "",
            *use(pages / "index.html"),
        ]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


def size_of(folder: Path) -> float:
    """Return the size of a folder's files in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def use(page: Path) -> list[str]:
    """Open the page and measure what a reader does; return the lines of a table."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def opened(hash_: str = "") -> Any:
            tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            tab.goto(page.as_uri() + hash_)
            tab.wait_for_selector("body.ready")
            return tab

        def repeated(act: Callable[[Any], float], hash_: str = "") -> list[float]:
            found = []
            for _ in range(REPEATS):
                tab = opened(hash_)
                found.append(act(tab))
                tab.context.close()
            return found

        lines = [
            f"| in Chromium {browser.version}, from `file://` | median | slowest of {REPEATS} | "
            "goal |",
            "|---|---|---|---|",
            line("first paint", repeated(first_paint), GOALS["first paint"]),
            line("list drawn", repeated(list_drawn), GOALS["first paint"]),
        ]
        for models in ("one model", "all models, both conditions"):
            tab = opened()
            if models != "one model":
                tab.evaluate(CHOOSE_ALL)
                tab.wait_for_timeout(500)
            for title, (name, value) in FILTERS.items():
                taken = alternate(tab, name, value, "")
                lines.append(line(f"{title}, {models}", taken, GOALS["filter"]))
            for name in ("wrong",) if models == "one model" else ("wrong", "differ"):
                taken = alternate(tab, name, True, False)
                title = {"wrong": "wrong only", "differ": "where they differ"}[name]
                lines.append(line(f"{title}, {models}", taken, GOALS["filter"]))
            taken = alternate(tab, "sort", "wrong", "")
            lines.append(line(f"sorted by wrong models, {models}", taken, GOALS["filter"]))
            tab.context.close()
        cold = repeated(lambda tab: tab.evaluate(CHANGE, ["q", "copper willow harbour"]))
        lines.append(
            line("text search in one model's answers, nothing loaded", cold, GOALS["search"])
        )
        lines.append(line("another search, all loaded", repeated(search_again), GOALS["search"]))
        lines.append(line("a sample opened by its link", repeated(sample_shown, LINK), None))
        browser.close()
    return lines


LINK = "#m=model-00&m=model-01&s=00000500%2Fprivate"


def first_paint(tab: Any) -> float:
    """Return the milliseconds from the request of the page to its first paint."""
    entry = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    return float(tab.evaluate(entry))


def list_drawn(tab: Any) -> float:
    """Return the milliseconds until the list of samples was there."""
    return float(tab.evaluate("performance.getEntriesByName('ready')[0].startTime"))


def sample_shown(tab: Any) -> float:
    """Return the milliseconds until a sample and two models' answers were there."""
    tab.wait_for_selector("#detail .answer pre")
    return float(tab.evaluate("performance.getEntriesByName('ready')[0].startTime"))


def search_again(tab: Any) -> float:
    """Search twice; return the milliseconds of the second search."""
    tab.evaluate(CHANGE, ["q", "copper"])
    return float(tab.evaluate(CHANGE, ["q", "marble lantern"]))


def alternate(tab: Any, name: str, on: Any, off: Any) -> list[float]:
    """Set and unset a filter; return the milliseconds of all changes."""
    return [
        float(tab.evaluate(CHANGE, [name, value]))
        for value in itertools.islice(itertools.cycle([on, off]), 2 * REPEATS)
    ]


def line(title: str, taken: list[float], goal: int | None) -> str:
    """Return a line of the table."""
    goals = "" if goal is None else f"{goal:,} ms"
    return f"| {title} | {statistics.median(taken):.0f} ms | {max(taken):.0f} ms | {goals} |"


if __name__ == "__main__":
    main()
