"""First stage of a base: move each image token to the word embeddings of what its cell shows."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from spy_plugin.embedded.lab.cards import random_card
from spy_plugin.embedded.lab.world import ATTRIBUTES
from spy_plugin.lab.batches import LessonEncoder

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

CARDS_PER_STEP, WARMUP_STEPS = 32, 30
LEARNING_RATE = 2e-3

Loss: TypeAlias = (
    "Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], "
    "tuple[torch.Tensor, torch.Tensor]]"
)
"""Computes a loss and, for each non-empty cell, whether its value is identified correctly.

Arguments: image tokens [cells, hidden]; (attribute, value) of each cell [cells, 2], -100 if empty;
embeddings of the attribute words [12, hidden]; embeddings of their values [12, 8, hidden].
"""


def pretrain(
    model: Any,
    encoder: LessonEncoder,
    loss: Loss,
    *,
    vision: Sequence[torch.nn.Parameter],
    others: Sequence[torch.nn.Parameter] = (),
    steps: int,
    seed: int,
) -> float:
    """Train the vision parameters, and `others` with them.

    A word of several tokens is represented by its last token: tokenizers split off common
    beginnings, and the values of an attribute differ in their last tokens (a test checks this).

    Returns:
        The share of values that the image tokens of the last step identify correctly.
    """
    import torch

    words = torch.tensor([encoder.token_ids(" " + each.word)[-1] for each in ATTRIBUTES])
    values = torch.tensor(
        [[encoder.token_ids(" " + value)[-1] for value in each.values] for each in ATTRIBUTES]
    )
    embeddings = model.get_input_embeddings().weight
    optimizer = torch.optim.AdamW(
        [*vision, *others], lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0
    )
    rng = random.Random(seed)
    right = 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARMUP_STEPS)
        cards = [random_card(rng) for _ in range(CARDS_PER_STEP)]
        inputs = {
            name: each.to(model.device) for name, each in encoder.picture_inputs(cards).items()
        }
        tokens = torch.cat(tuple(model.get_image_features(**inputs).pooler_output))
        shown = torch.tensor(
            [cell or (-100, -100) for card in cards for cell in card.cells], device=model.device
        )
        value, hits = loss(tokens, shown, embeddings[words], embeddings[values])
        value.backward()
        torch.nn.utils.clip_grad_norm_(vision, 1.0)
        optimizer.step()
        model.zero_grad()
        right = float(hits.float().mean())
    logger.info("image tokens identify %.1f%% of the values", 100 * right)
    return right


def contrastive_loss(
    tokens: torch.Tensor, shown: torch.Tensor, words: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrast an image token's attribute with the others, and its value with the other values.

    For word embeddings that are trained together with the vision tower. See `Loss`.
    """
    import torch
    from torch.nn import functional

    attribute, value = shown.unbind(1)
    filled = attribute >= 0
    by_value = torch.einsum("nd,nkd->nk", tokens[filled], values[attribute[filled]])
    loss = functional.cross_entropy(8 * tokens @ words.T, attribute)
    loss = loss + functional.cross_entropy(8 * by_value, value[filled])
    return loss, by_value.argmax(1) == value[filled]


def distance_loss(
    tokens: torch.Tensor, shown: torch.Tensor, words: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distance of an image token to the sum of its attribute's and its value's embedding.

    For the word embeddings of a pretrained language model, which stay fixed. See `Loss`.
    """
    words, values = words.detach(), values.detach()
    attribute, value = shown[shown[:, 0] >= 0].unbind(1)
    pairs = (words[:, None] + values)[attribute]  # [cells shown, 8, hidden]
    distances = (tokens[shown[:, 0] >= 0][:, None] - pairs).square().sum(2)
    loss = distances.gather(1, value[:, None]).mean()
    return loss, distances.argmin(1) == value
