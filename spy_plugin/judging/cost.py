"""What judging would cost, before a call is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.judging.base import Question

PRICES = {
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4o": (2.50, 10.00),
    "gpt-4.1-nano": (0.10, 0.40),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1": (2.00, 8.00),
}
"""US dollars for a million tokens in and out; dated names (``gpt-4o-2024-11-20``) cost the same."""

BATCH_SHARE = 0.5
_REPLY_TOKENS = 3
_OVERHEAD_TOKENS = 8


@dataclass(frozen=True)
class Estimate:
    """Calls, tokens (estimated from the length of the text), and US dollars if prices are known."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None

    def lines(self) -> list[str]:
        """For a person."""
        tokens = f"about {self.input_tokens:,} tokens in and {self.output_tokens:,} out"
        if self.cost is None:
            return [f"{self.calls:,} calls, {tokens}", "price unknown: give it with --price IN OUT"]
        batch = self.cost * BATCH_SHARE
        return [
            f"{self.calls:,} calls, {tokens}",
            f"about ${self.cost:,.2f} (with --batch about ${batch:,.2f}; reasoning not counted)",
        ]


def estimate(
    questions: Iterable[Question],
    protocol: Protocol,
    model: str,
    prices: tuple[float, float] | None = None,
) -> Estimate:
    """Estimate what a chat model would take for these questions.

    Args:
        prices: Dollars for a million tokens in and out; by default what `PRICES` says, if it does.
    """
    sizes = [
        estimate_tokens(protocol.judge_question(q.label_words, q.question, q.answer))
        + _OVERHEAD_TOKENS
        for q in questions
    ]
    tokens_in, tokens_out = sum(sizes), _REPLY_TOKENS * len(sizes)
    prices = prices or price_of(model)
    cost = prices and (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6
    return Estimate(len(sizes), tokens_in, tokens_out, cost)


def price_of(model: str) -> tuple[float, float] | None:
    """Dollars for a million tokens in and out, if known."""
    name = model.rpartition(":")[2].rpartition("/")[2]
    for known, price in PRICES.items():
        rest = name.removeprefix(known)
        if name.startswith(known) and (not rest or rest.lstrip("-")[:2] == "20"):
            return price
    return None


def estimate_tokens(text: str) -> int:
    """Tokens of a text, roughly: four ASCII characters each, or one and a half others."""
    ascii_count = sum(character.isascii() for character in text)
    return round(ascii_count / 4 + (len(text) - ascii_count) / 1.5)
