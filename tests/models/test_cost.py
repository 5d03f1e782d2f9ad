"""Tokens of pictures, against the examples of OpenAI's documentation."""

from __future__ import annotations

import pytest

from spy_plugin.models.cost import picture_tokens, priced


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        ("gpt-4o", 1024, 1024, 765),
        ("gpt-4o-2024-11-20", 2048, 4096, 1105),
        ("openai:gpt-4.1", 512, 512, 255),
        ("gpt-4o", 768, 768, 765),
        ("gpt-4o-mini", 1024, 1024, 2833 + 4 * 5667),
        ("gpt-4.1-mini", 1024, 1024, 1659),
        ("gpt-4.1-nano", 4096, 4096, 3779),
        ("my-own", 1024, 1024, 765),
    ],
)
def test_picture_tokens(model: str, width: int, height: int, tokens: int) -> None:
    assert picture_tokens(model, width, height) == tokens


def test_a_limit_is_shown_as_one_and_an_unknown_price_as_unknown() -> None:
    lines = priced("gpt-4o", 10, 1_000_000, 5_120, at_most=True).lines()
    assert lines == [
        "10 calls, about 1,000,000 tokens in and at most 5,120 out",
        "up to about $2.55 (with --batch up to about $1.28; reasoning not counted)",
    ]
    unlimited = priced("x", 1, 10, None, (1.0, 1.0)).lines()
    assert "an unlimited number out" in unlimited[0]
    assert "output not counted" in unlimited[1]
    assert "--price IN OUT" in priced("x", 1, 10, 10).lines()[1]
