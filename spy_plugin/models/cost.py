"""What asking a provider's model would cost, before a call is made: an estimate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

PRICES = {
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4o": (2.50, 10.00),
    "gpt-4.1-nano": (0.10, 0.40),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1": (2.00, 8.00),
}
"""US dollars for a million tokens in and out; dated names (``gpt-4o-2024-11-20``) cost the same."""

BATCH_SHARE = 0.5
OVERHEAD_TOKENS = 8
"""Tokens of a request beside its text."""

_TILES = {
    "gpt-4o-mini": (2833, 5667),
    "gpt-4o": (85, 170),
    "gpt-4.1": (85, 170),
    "gpt-5": (70, 140),
    "o1": (75, 150),
    "o3": (75, 150),
}
"""Model -> tokens of a picture itself, and of each tile of 512 x 512 pixels."""

_PATCHES = {
    "gpt-4.1-nano": Fraction("2.46"),
    "gpt-4.1-mini": Fraction("1.62"),
    "gpt-5-nano": Fraction("2.46"),
    "gpt-5-mini": Fraction("1.62"),
    "o4-mini": Fraction("1.72"),
}
"""Model -> tokens for each patch of 32 x 32 pixels."""

_SQUARE, _SHORT_SIDE, _TILE = 2048, 768, 512
_PATCH, _MOST_PATCHES = 32, 1536


@dataclass(frozen=True)
class Estimate:
    """Calls, tokens (estimated from the length of the text), and US dollars if prices are known.

    Attributes:
        output_tokens: None where nothing limits them; then they are not in the cost.
        at_most: The output is a limit, not what is expected.
    """

    calls: int
    input_tokens: int
    output_tokens: int | None
    cost: float | None
    at_most: bool = False

    def lines(self) -> list[str]:
        """For a person."""
        most = "at most " if self.at_most else ""
        out = "an unlimited number" if self.output_tokens is None else f"{self.output_tokens:,}"
        tokens = f"about {self.input_tokens:,} tokens in and {most}{out} out"
        if self.cost is None:
            return [f"{self.calls:,} calls, {tokens}", "price unknown: give it with --price IN OUT"]
        batch = self.cost * BATCH_SHARE
        about = "up to about" if self.at_most else "about"
        uncounted = "reasoning" if self.output_tokens is not None else "output"
        return [
            f"{self.calls:,} calls, {tokens}",
            f"{about} ${self.cost:,.2f} (with --batch {about} ${batch:,.2f}; "
            f"{uncounted} not counted)",
        ]


def priced(
    model: str,
    calls: int,
    input_tokens: int,
    output_tokens: int | None,
    prices: tuple[float, float] | None = None,
    *,
    at_most: bool = False,
) -> Estimate:
    """Put a price on calls.

    Args:
        model: Its name; decides the price where none is given.
        prices: Dollars for a million tokens in and out; by default what `PRICES` says, if it does.
        at_most: See `Estimate`.
    """
    prices = prices or price_of(model)
    cost = prices and (input_tokens * prices[0] + (output_tokens or 0) * prices[1]) / 1e6
    return Estimate(calls, input_tokens, output_tokens, cost, at_most)


def price_of(model: str) -> tuple[float, float] | None:
    """Dollars for a million tokens in and out, if known."""
    return PRICES.get(_known(model, PRICES) or "")


def estimate_tokens(text: str) -> int:
    """Tokens of a text, roughly: four ASCII characters each, or one and a half others."""
    ascii_count = sum(character.isascii() for character in text)
    return round(ascii_count / 4 + (len(text) - ascii_count) / 1.5)


def picture_tokens(model: str, width: int, height: int) -> int:
    """Tokens of a picture by OpenAI's formula; that of GPT-4o for a model without one of its own.

    Either the picture is fitted into a square of 2048 pixels, its short side reduced to 768, and
    each tile of 512 pixels counts; or patches of 32 pixels count, at most 1536 of them
    (https://platform.openai.com/docs/guides/images-vision#calculating-costs).
    """
    factor = _PATCHES.get(_known(model, _PATCHES) or "")
    if factor is not None:
        patches = math.ceil(width / _PATCH) * math.ceil(height / _PATCH)
        return math.ceil(min(patches, _MOST_PATCHES) * factor)
    base, tile = _TILES[_known(model, _TILES) or "gpt-4o"]
    scale = min(1.0, _SQUARE / max(width, height))
    scale = min(scale, _SHORT_SIDE / min(width, height))
    # Rounded first: 768 pixels are two tiles, not three.
    across, down = (math.ceil(round(side * scale, 6) / _TILE) for side in (width, height))
    return base + tile * across * down


def _known(model: str, table: Iterable[str]) -> str | None:
    """The name in a table that a model has, perhaps followed by a date."""
    name = model.rpartition(":")[2].rpartition("/")[2]
    for known in table:
        rest = name.removeprefix(known)
        if name.startswith(known) and (not rest or rest.lstrip("-")[:2] == "20"):
            return known
    return None
