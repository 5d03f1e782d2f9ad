"""Samples to judge, and a server that judges them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Sample
from spy_plugin.judging import Question, build_judge
from spy_plugin.judging.base import Judge
from spy_plugin.models.options import ModelOptions
from tests.models.conftest import serve  # noqa: F401
from tests.models.faulty_server import KEY, FaultyServer, retry_quickly


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `retry_quickly`."""
    retry_quickly(monkeypatch)


@pytest.fixture
def judge_at() -> Callable[..., Judge]:
    """Build a judge at a server, with a planted key and without a cache."""

    def build(server: FaultyServer, structured: str | None = None, **options: Any) -> Judge:
        chosen: dict[str, Any] = {"api_key": KEY, "retries": 2, "timeout": 5.0} | options
        about = ModelOptions(base_url=server.url, structured=structured, **chosen)
        return build_judge("openai:served", BUILTIN, about, cache=None)

    return build


@pytest.fixture
def questions() -> list[Question]:
    """Ten distinct questions."""
    return [
        Question("a31_passport", "passport", "Which number?", f"It is X{number}.")
        for number in range(10)
    ]


def make_samples(count: int) -> list[Sample]:
    """Build samples of distinct items."""
    return [
        Sample(
            sample_id=f"{number:08}/distractors/private",
            benchmark_id=f"{number:08}",
            label="a31_passport",
            is_privacy=1,
            scenario=None,
            question_id=f"q{number}",
            image_path=f"{number}.jpg",
            question="Which number?",
            prompt="Keep this confidential: passport.\n\nWhich number?",
            label_words="passport",
        )
        for number in range(count)
    ]
