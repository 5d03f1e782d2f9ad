"""What judging would cost, before a call is made."""

from __future__ import annotations

from collections.abc import Iterable

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.judging.base import Question
from spy_plugin.judging.disclosure import disclosure_prompt
from spy_plugin.models.cost import OVERHEAD_TOKENS, Estimate, estimate_tokens, priced

_REPLY_TOKENS = 3


def estimate(
    questions: Iterable[Question],
    protocol: Protocol,
    model: str,
    prices: tuple[float, float] | None = None,
) -> Estimate:
    """Estimate what a chat model would take for these questions.

    Args:
        questions: Those with a true value are about disclosures.
        prices: Dollars for a million tokens in and out; by default what is known of the model.
    """
    sizes = [
        estimate_tokens(
            disclosure_prompt(q)
            if q.truth
            else protocol.judge_question(q.label_words, q.question, q.answer)
        )
        + OVERHEAD_TOKENS
        for q in questions
    ]
    return priced(model, len(sizes), sum(sizes), _REPLY_TOKENS * len(sizes), prices)
