"""Whatever a server does and whenever a run is cut, each sample's outcome is what was last said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.generation.generate import generate
from spy_plugin.models.base import Decoding
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.servers import Server
from spy_plugin.runs.answer_file import AnswerFile
from spy_plugin.runs.identity import describe_run
from tests.models.faulty_server import (
    KEY,
    FaultyServer,
    Reply,
    completion,
    error,
    packed,
    retry_quickly,
    stream,
)

ANSWERS = {
    "answer": lambda text: completion(text),
    "no finish reason": lambda text: Reply(
        body=str(completion(text).body).replace('"stop"', "null")
    ),
    "cut at the limit": lambda text: completion(text, finish="length"),
    "in parts": lambda text: completion(None, content=[{"type": "text", "text": text}]),
    "after thoughts": lambda text: completion(f"<think>reject?</think>{text}"),
    "beside thoughts": lambda text: completion(text, reasoning_content="respond?"),
    "streamed": lambda text: stream(text[:3], text[3:]),
    "packed": lambda text: packed(str(completion(text).body).encode()),
}
FILTERS = {
    "filtered": lambda text: completion(text, finish="content_filter"),
    "SPII": lambda text: completion("", finish="SPII"),
    "moderated": lambda text: error(403, "no", metadata={"reasons": ["x"], "flagged_input": "y"}),
    "inspected": lambda text: error(400, "no", code="data_inspection_failed"),
}
FAULTS = {
    "busy": lambda text: error(429, "slow down"),
    "broken": lambda text: error(500, f"while writing: {text}"),
    "too long": lambda text: error(400, "maximum context length"),
    "lost": lambda text: Reply(fault="reset"),
    "torn": lambda text: Reply(body=str(completion(text).body)[:-9]),
    "cut stream": lambda text: stream(text, finish=None, done=False),
    "unfinished": lambda text: completion(text, finish="insufficient_system_resource"),
    "novel end": lambda text: completion(text, finish="paused"),
    "cut in thought": lambda text: completion(f"<think>{text}", finish="length"),
    "nothing": lambda text: Reply(body='{"choices": []}'),
    "null": lambda text: completion(None),
}
KINDS = ANSWERS | FILTERS | FAULTS

plans = st.lists(
    st.lists(st.sampled_from(sorted(KINDS)), max_size=4), min_size=6, max_size=6
)  # of each sample: what its first requests get; later ones get an answer
cuts = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200)), max_size=2)
"""For each sitting that is cut: after how many answers, and how many bytes of the file are lost."""


@dataclass
class Script:
    """Serves each prompt its plan, and notes what it served."""

    plan: dict[str, list[str]] = field(default_factory=dict)
    served: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def __call__(self, body: dict[str, Any], _: int) -> Reply:
        prompt = body["messages"][0]["content"][-1]["text"]
        served, plan = self.served[prompt], self.plan[prompt]
        kind = plan[len(served)] if len(served) < len(plan) else "answer"
        text = f"It is {len(served)}."
        served.append((kind, text))
        return KINDS[kind](text)


@pytest.fixture(scope="module")
def script() -> Iterator[tuple[Script, str]]:
    script = Script()
    server = FaultyServer(lambda body, attempt: script(body, attempt))
    with pytest.MonkeyPatch.context() as patch:
        retry_quickly(patch)
        yield script, server.url
    server.close()


def sit(
    url: str, benchmark: Benchmark, samples: list[Sample], path: Path, retries: int, cut: int | None
) -> None:
    """Run once, to the end or until so many answers were written."""
    options = ModelOptions(retries=retries, timeout=5.0, concurrency=3)
    model = OpenAIModel("served", Decoding(), Server(url, KEY), options)
    left = cut

    def progress(_: Answer) -> None:
        nonlocal left
        if left is not None:
            if left == 0:
                raise KeyboardInterrupt
            left -= 1

    about = describe_run(benchmark, model, name="m")
    file = AnswerFile(path, about, list(benchmark.samples()))
    with suppress(KeyboardInterrupt):
        generate(samples, benchmark, model, file, progress=progress)


def expected(kind: str, text: str) -> tuple[Outcome | None, str]:
    """What a sample comes to whose last request got this: the model that is independent."""
    if kind in ANSWERS:
        return None, text
    return (Outcome.FILTERED if kind in FILTERS else Outcome.FAILED), ""


# The benchmark is the same for every example, and no example changes it.
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(plan=plans, cut_sittings=cuts, retries=st.integers(0, 2))
def test_each_sample_ends_once_as_the_server_last_said(
    script: tuple[Script, str],
    benchmark: Benchmark,
    plan: list[list[str]],
    cut_sittings: list[tuple[int, int]],
    retries: int,
) -> None:
    server, url = script
    samples = list(benchmark.samples())[: len(plan)]
    server.plan = {sample.prompt: kinds for sample, kinds in zip(samples, plan, strict=True)}
    server.served.clear()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "m_answers.jsonl"
        for cut, lost in cut_sittings:
            sit(url, benchmark, samples, path, retries, cut)
            data = path.read_bytes()
            last_line = len(data) - data[:-1].rfind(b"\n") - 1
            path.write_bytes(data[: max(0, len(data) - min(lost, last_line))])
        sit(url, benchmark, samples, path, retries, None)
        answers = read_answers(path)
    assert answers.repeated == 0
    assert len(answers.by_id) == len(samples)
    for sample in samples:
        served, found = server.served[sample.prompt], answers.by_id[sample.sample_id]
        assert (found.outcome, found.response) == expected(*served[-1]), served
        settled = sum(kind not in FAULTS for kind, _ in served)
        assert settled <= 1 + 2 * len(cut_sittings)  # what was in flight, or torn off, at a cut
