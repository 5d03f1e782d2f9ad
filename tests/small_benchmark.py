"""Fixtures: a small benchmark, and the answer file of a run on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Sample, Scenario
from spy_plugin.benchmark.samples import Benchmark, Item
from spy_plugin.models.base import Model
from spy_plugin.models.fake import FakeModel
from spy_plugin.runs.answer_file import AnswerFile
from spy_plugin.runs.identity import describe_run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with four pictures."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(4):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(root / f"{number}.png")
    return root


@pytest.fixture
def benchmark(pictures: Path) -> Benchmark:
    """Eight items on four pictures, an item of each picture after the other: 40 samples."""
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
    """The answer file of a run, under conditions that a test may change."""

    def open_it(model: Model | None = None, **changed: Any) -> AnswerFile:
        path = changed.pop("path", tmp_path / "m_answers.jsonl")
        data = changed.pop("benchmark", benchmark)
        name = changed.pop("name", "m")
        run = describe_run(data, model or FakeModel(model="m"), name=name, **changed)
        return AnswerFile(path, run, list(data.samples()))

    return open_it
