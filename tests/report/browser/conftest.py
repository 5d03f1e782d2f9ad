"""Runs for a browser to show."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
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

MODELS = ("careful", "eager", "thinker")
WRONG = "zzz"
"""What some answers tell in place of the true value."""


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
    servers: list[tuple[browser.BrowserServer, threading.Thread]] = []

    def serve(folder: Path, small: dict[str, Path] | None = None) -> browser.BrowserServer:
        server = browser.BrowserServer(folder, small or {})
        thread = threading.Thread(target=server.serve, daemon=True)
        servers.append((server, thread))
        thread.start()
        return server

    yield serve
    for server, thread in servers:
        server._server.shutdown()  # on a closed socket, the thread would poll without a pause
        thread.join()
        server.close()
