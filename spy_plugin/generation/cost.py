"""What generating answers would cost, before a call is made."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.data.pictures import fitted_size
from spy_plugin.models.cost import (
    OVERHEAD_TOKENS,
    Estimate,
    estimate_tokens,
    picture_tokens,
    priced,
)


def estimate(
    samples: Iterable[Sample],
    benchmark: Benchmark,
    model: str,
    limit: int | None,
    prices: tuple[float, float] | None = None,
) -> Estimate:
    """Estimate what a chat model would take for these samples.

    A picture's tokens follow from its size, by `picture_tokens`; one that cannot be read is not
    asked about and counts nothing.

    Args:
        limit: The limit of new tokens of an answer; None for none.
        prices: Dollars for a million tokens in and out; by default what is known of the model.
    """
    size_of = cache(_size)
    calls = tokens = 0
    for sample in samples:
        size = size_of(benchmark.image_file(sample))
        if size is not None:
            calls += 1
            tokens += estimate_tokens(sample.prompt) + picture_tokens(model, *size)
    tokens += OVERHEAD_TOKENS * calls
    most = None if limit is None else limit * calls
    return priced(model, calls, tokens, most, prices, at_most=limit is not None)


def _size(path: Path) -> tuple[int, int] | None:
    """The size of a picture as it is sent, in pixels; None if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            return fitted_size(*opened.size)
    except (OSError, Image.DecompressionBombError):
        return None
