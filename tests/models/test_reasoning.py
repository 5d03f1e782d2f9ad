"""Which models are taken to think first, and what limits of tokens follow."""

from __future__ import annotations

from typing import Any

import pytest

from spy_plugin.models.base import Decoding, ModelSetupError
from spy_plugin.models.build import build_model
from spy_plugin.models.options import JUDGE, MODEL, ModelOptions, Role
from spy_plugin.models.reasoning import is_reasoning


@pytest.mark.parametrize(
    "name",
    [
        "o1",
        "openai/o3",
        "o4-mini",
        "o4-mini-2025-04-16",
        "gpt-5",
        "gpt-5.1",
        "gpt-5-mini-2025-08-07",
        "gemini-2.5-pro",
        "models/gemini-2.5-flash",
        "deepseek-reasoner",
        "Qwen3-VL-8B-Thinking",
        "Qwen/QVQ-72B-Preview",
    ],
)
def test_models_that_think_are_known_by_their_names(name: str) -> None:
    assert is_reasoning(name)


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5-chat-latest",
        "o1vision-local",
        "o3d-vl",
        "o4-like",
        "gpt-4o",
        "gemini-2.0-flash",
        "gemini-2.5-flash-lite",
        "Qwen3-VL-8B-Instruct",
        "rethinking-vl",
    ],
)
def test_names_that_only_look_like_it_are_not(name: str) -> None:
    assert not is_reasoning(name)


def decoding(model: str, role: Role = MODEL, **options: Any) -> Decoding:
    chosen = ModelOptions(base_url="http://localhost:1/v1", **options)
    return build_model("openai", model, chosen, role=role).decoding


def test_the_option_overrides_the_name() -> None:
    assert decoding("prod-o3", reasoning="yes") == Decoding(1.0, None)
    assert decoding("gpt-5", reasoning="no") == Decoding(0.0, 512)
    with pytest.raises(ModelSetupError, match=r"reasoning is 'maybe'\. Use auto, yes, no"):
        decoding("m", reasoning="maybe")


def test_a_model_that_reasons_has_a_limit_of_its_own() -> None:
    assert decoding("gpt-5", reasoning_max_tokens=2000) == Decoding(1.0, 2000)
    assert decoding("gpt-5", max_tokens=900) == Decoding(1.0, 900)
    assert decoding("gpt-5", max_tokens=900, reasoning_max_tokens=0) == Decoding(1.0, None)
    assert decoding("gpt-4o", reasoning_max_tokens=2000) == Decoding(0.0, 512)


def test_a_judge_has_the_protocols_limit_or_its_own_if_it_reasons() -> None:
    assert decoding("gpt-4o", JUDGE).max_tokens == 512
    assert decoding("gpt-5", JUDGE).max_tokens == 8192
    assert decoding("gpt-5", JUDGE, reasoning_max_tokens=1000).max_tokens == 1000
