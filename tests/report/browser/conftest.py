"""A browser that tests can look at, and runs for it to show."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.records import Outcome, Verdict, dump_jsonl, verdict_of
from spy_plugin.benchmark.samples import DISTRACTORS, NO_DISTRACTORS
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.report import ReportOptions, browser, combine
from spy_plugin.runs.answer_file import StoredAnswer
from spy_plugin.runs.metadata import JudgeInfo
from tests.report.made_up import write_run
from tests.small_benchmark import benchmark, pictures  # noqa: F401

CHROMIUM = next((p for n in ("chromium", "chromium-browser") if (p := shutil.which(n))), "")
MODELS = ("careful", "eager", "thinker")
WRONG = "zzz"
"""What some answers tell in place of the true value."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start Chromium once; skip where Playwright or Chromium is missing."""
    if not CHROMIUM:
        pytest.skip("no Chromium on PATH")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Seen:
    """What a page did besides being drawn."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


Open = Callable[..., Any]


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Return a function that opens an address and waits until the samples are there.

    The page's `seen` is what it did; every complaint of the browser fails the test at its end.
    """
    contexts: list[Any] = []
    everything: list[Seen] = []

    def open_it(address: str, *, width: int = 1280, dark: bool = False) -> Any:
        size = {"width": width, "height": 844}
        scheme = "dark" if dark else "light"
        contexts.append(chromium.new_context(viewport=size, color_scheme=scheme))
        page, seen = contexts[-1].new_page(), Seen()
        everything.append(seen)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda message: seen.complaints.append(message.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))

        def note(dialog: Any) -> None:
            seen.dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", note)
        page.goto(address)
        page.wait_for_selector("body.ready")
        page.seen = seen
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not [text for seen in everything for text in seen.complaints + seen.dialogs]


def settled(page: Any, count: int) -> None:
    """Wait until the list names so many samples."""
    page.wait_for_function(
        "count => document.querySelector('#count b')?.textContent === count", arg=f"{count:,}"
    )


def mini_verdicts(model: str, variant: str) -> tuple[list[Verdict], list[StoredAnswer]]:
    """Make a model's answers and verdicts on the embedded benchmark."""
    rng, mini = random.Random(f"{model} {variant}"), open_benchmark(MINI)
    verdicts, answers = [], []
    for sample in mini.samples(distractors=variant == DISTRACTORS):
        policy = rng.choices(["spy-oracle", "spy-literal"], [1 + MODELS.index(model), 1])[0]
        outcome = POLICIES[policy](sample, ABSOLUTE_LABELS)
        if rng.random() < 0.03:
            outcome = rng.choice([Outcome.UNJUDGED, Outcome.FILTERED, Outcome.FAILED])
        told = sample.gt if rng.random() < 0.7 else WRONG
        said = f"{model} says {outcome.value} about {sample.label_words}: {told}."
        judge = {"judge": "made-up judge", "raw": outcome.value}
        verdicts.append(verdict_of(sample, outcome, answer=said, **judge))
        thoughts = f"Who asks about {sample.label_words}?" if model == "thinker" else ""
        answers.append(StoredAnswer(sample.sample_id, said, thoughts=thoughts))
    return verdicts, answers


def write_mini_runs(folder: Path) -> Path:
    """Write runs of three models on the embedded benchmark, with and without distractors."""
    for model in MODELS:
        for variant in (DISTRACTORS, NO_DISTRACTORS):
            verdicts, answers = mini_verdicts(model, variant)
            dataset = f"SPYBench_MINI_{variant}"
            about = write_run(
                folder,
                model,
                verdicts,
                benchmark=MINI,
                variant=variant,
                dataset=dataset,
                data_fingerprint=variant[:12],
                judge=JudgeInfo(name="made-up judge", fingerprint="abcabcabcabc"),
                answers=f"{model}_{dataset}_answers.jsonl",
            )
            (folder / about.answers).write_text(dump_jsonl(answers), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def mini_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini_runs(tmp_path_factory.mktemp("mini_runs"))


@pytest.fixture(scope="session")
def mini_report(mini_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with the sample browser, on the three models."""
    out = tmp_path_factory.mktemp("mini_report") / "report"
    combine([mini_runs], out, ReportOptions(resamples=20))
    return out


@pytest.fixture
def mini_address(mini_report: Path) -> str:
    return (mini_report / browser.FOLDER / "index.html").as_uri()


@pytest.fixture
def served() -> Iterator[Callable[[Path], browser.BrowserServer]]:
    """Return a function that serves a folder until the test ends."""
    servers: list[browser.BrowserServer] = []

    def serve(folder: Path, small: dict[str, Path] | None = None) -> browser.BrowserServer:
        server = browser.BrowserServer(folder, small or {})
        servers.append(server)
        threading.Thread(target=server.serve, daemon=True).start()
        return server

    yield serve
    for server in servers:
        server.close()
