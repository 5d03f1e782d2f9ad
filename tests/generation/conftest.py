"""A small benchmark, scripted backends, and a server in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Sample, Scenario
from spy_plugin.benchmark.samples import Benchmark, Item
from spy_plugin.models.base import Backend, Conversation, Decoding, Reply
from spy_plugin.runs.answer_file import AnswerFile
from spy_plugin.runs.identity import describe_run
from tests.generation.faulty_process import ServerProcess

Answering = Callable[[Conversation], Reply]

LIMIT = "60"
STEM = "served_SPYBench_MINI"
"""The prefix of the files of a run with these options."""


class Scripted(Backend):
    """A backend that replies by a function, last conversation first, and records its requests."""

    def __init__(self, reply: Answering | None = None, model: str = "m", **settings: Any) -> None:
        self.name, self.model, self.settings = "vllm", model, settings
        self.reply = reply or (lambda talk: Reply(talk.sample_id, f"turn {len(talk.turns)}"))
        self.asked: list[Conversation] = []

    def answer(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        for conversation in conversations:
            self.asked.append(conversation)
            yield self.reply(conversation)

    @property
    def asked_ids(self) -> list[str]:
        return [conversation.sample_id for conversation in self.asked]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data root with four pictures."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(4):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(root / f"{number}.png")
    return root


@pytest.fixture
def benchmark(pictures: Path) -> Benchmark:
    """Eight items on four pictures, alternating between pictures: 40 samples."""
    conflict, other = Scenario("s0", 0, "At the gate: {}"), Scenario("s1", 1, "At home: {}")
    items = tuple(
        Item(
            benchmark_id=f"{number:08}",
            label="a31_passport",
            other_labels=(),
            question_id=f"q{number}",
            image_path=f"{number % 4}.png",
            question=f"Which number has it ({number})?",
            gt="X",
            non_privacy_scenarios=(conflict,),
            privacy_scenarios=(other,),
        )
        for number in range(8)
    )
    return Benchmark("small", items, {"a31_passport": "passport"}, BUILTIN, pictures)


@pytest.fixture
def samples(benchmark: Benchmark) -> list[Sample]:
    return list(benchmark.samples())


@pytest.fixture
def open_file(benchmark: Benchmark, tmp_path: Path) -> Callable[..., AnswerFile]:
    """Return a function that opens the answer file of a run with given conditions."""

    def open_it(backend: Backend | None = None, **changed: Any) -> AnswerFile:
        path = changed.pop("path", tmp_path / "m_answers.jsonl")
        decoding = changed.pop("decoding", Decoding())
        data = changed.pop("benchmark", benchmark)
        model = changed.pop("model", "m")
        run = describe_run(data, backend or Scripted(), decoding, model=model, **changed)
        return AnswerFile(path, run, list(data.samples()))

    return open_it


@pytest.fixture(scope="session")
def server_process() -> Iterator[ServerProcess]:
    server = ServerProcess()
    yield server
    server.close()


@pytest.fixture
def server(server_process: ServerProcess) -> ServerProcess:
    """The server without faults and with an empty request log."""
    server_process.command()
    return server_process


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a command runs and writes its files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def options(server: ServerProcess, *more: str, limit: str = LIMIT) -> list[str]:
    run = ["generate", "--mini", "--backend", "openai", "--model", "served", "--limit", limit]
    return [*run, "--base-url", server.url, *more]


def in_a_process(
    words: list[str], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start `spy-bench`. It can be interrupted even where the tests cannot.

    A test run in the background (`make test &`) ignores SIGINT, which its children would inherit.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "spy_plugin.cli", *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def line_count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    while line_count(path) < count and process.poll() is None:
        time.sleep(0.003)
