"""A base's first stage: each cell's image token is moved to the words for what the cell shows."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from spy_plugin.embedded.lab.cards import random_card
from spy_plugin.embedded.lab.world import ATTRIBUTES
from spy_plugin.lab.batches import Encoder

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

CARDS, WARMUP_STEPS = 32, 30
RATE = 2e-3

Objective: TypeAlias = (
    "Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], "
    "tuple[torch.Tensor, torch.Tensor]]"
)
"""(image tokens [cells, hidden], (attribute, value) of each [cells, 2] or -100 if empty, embeddings
of the attributes' words [12, hidden], of their values [12, 8, hidden]) -> loss, and whether the
value is told right [cells shown].
"""


def align(
    model: Any,
    encoder: Encoder,
    objective: Objective,
    *,
    tower: Sequence[torch.nn.Parameter],
    others: Sequence[torch.nn.Parameter] = (),
    steps: int,
    seed: int,
) -> float:
    """Train the tower, and the others with it; returns the last share of values told right.

    A word of several tokens is known by its last one: tokenizers cut off a common beginning, and
    the values of an attribute differ in their ends (a test looks).
    """
    import torch

    words = torch.tensor([encoder.tokens(" " + each.word)[-1] for each in ATTRIBUTES])
    values = torch.tensor(
        [[encoder.tokens(" " + value)[-1] for value in each.values] for each in ATTRIBUTES]
    )
    embeddings = model.get_input_embeddings().weight
    optimizer = torch.optim.AdamW([*tower, *others], lr=RATE, betas=(0.9, 0.98), weight_decay=0)
    rng = random.Random(seed)
    right = 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARMUP_STEPS)
        cards = [random_card(rng) for _ in range(CARDS)]
        inputs = {name: each.to(model.device) for name, each in encoder.pictures(cards).items()}
        tokens = torch.cat(tuple(model.get_image_features(**inputs).pooler_output))
        shown = torch.tensor(
            [cell or (-100, -100) for card in cards for cell in card.cells], device=model.device
        )
        loss, hits = objective(tokens, shown, embeddings[words], embeddings[values])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower, 1.0)
        optimizer.step()
        model.zero_grad()
        right = float(hits.float().mean())
    logger.info("the tower tells %.1f%% of the values", 100 * right)
    return right


def contrast(
    tokens: torch.Tensor, shown: torch.Tensor, words: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A token's product with its attribute's word must beat those with the other attributes' words,
    and so for the attribute's values: for embeddings that are learned along.
    """
    import torch
    from torch.nn import functional

    attribute, value = shown.unbind(1)
    there = attribute >= 0
    by_value = torch.einsum("nd,nkd->nk", tokens[there], values[attribute[there]])
    loss = functional.cross_entropy(8 * tokens @ words.T, attribute)
    loss = loss + functional.cross_entropy(8 * by_value, value[there])
    return loss, by_value.argmax(1) == value[there]


def place(
    tokens: torch.Tensor, shown: torch.Tensor, words: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A token must be the sum of its attribute's word and of its value: for embeddings that a
    language model has already, which stay as they are.
    """
    words, values = words.detach(), values.detach()
    attribute, value = shown[shown[:, 0] >= 0].unbind(1)
    pairs = (words[:, None] + values)[attribute]  # [cells shown, 8, hidden]
    distances = (tokens[shown[:, 0] >= 0][:, None] - pairs).square().sum(2)
    loss = distances.gather(1, value[:, None]).mean()
    return loss, distances.argmin(1) == value
