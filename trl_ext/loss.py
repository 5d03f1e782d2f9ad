"""Losses and metrics of preference rows, on log-probabilities alone.

A row is a table of completions, side by choice. NCA-P rows have two sides, two prompts about one
picture: side 0 says the user does not call something private, side 1 says that they do. Rows of
DPO and NCA have one side. Each side has a chosen and a rejected answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

CHOICES = ("chosen", "rejected")
PAIRED = ("_0", "_1")
"""Suffixes of an NCA-P row's columns, one a side."""
SINGLE = ("",)
"""The same of a DPO or NCA row."""


def columns(sides: Sequence[str]) -> list[str]:
    """Names of a row's completions, in the order in which they are stored."""
    return [f"{choice}{side}" for side in sides for choice in CHOICES]


def nca_loss(log_ratios: Tensor, beta: float) -> Tensor:
    """The NCA loss of each row, summed over its sides; with two sides it is that of NCA-P.

    With the implicit reward r(y) = beta * (log pi(y|x) - log ref(y|x)), each side i adds
    -logsigmoid(r(chosen_i)) - 1/2 logsigmoid(-r(chosen_i)) - 1/2 logsigmoid(-r(rejected_i)):
    the pairwise NCA loss (arXiv 2402.05369), once for each side of the instruction.

    Args:
        log_ratios: log pi - log ref of each completion, shape `(rows, sides, 2)`: side, then
            (chosen, rejected).
        beta: Strength of the pull towards the reference.

    Returns:
        Shape `(rows,)`.
    """
    chosen, rejected = (beta * log_ratios).unbind(dim=2)
    sides = -F.logsigmoid(chosen) - 0.5 * F.logsigmoid(-chosen) - 0.5 * F.logsigmoid(-rejected)
    return sides.sum(dim=1)


def dpo_loss(log_ratios: Tensor, beta: float) -> Tensor:
    """The DPO loss (arXiv 2305.18290) of each row: -logsigmoid(r(chosen) - r(rejected)).

    Arguments and result are those of `nca_loss`.
    """
    chosen, rejected = (beta * log_ratios).unbind(dim=2)
    return -F.logsigmoid(chosen - rejected).sum(dim=1)


LOSSES = {"nca_priv": nca_loss, "nca_pair": nca_loss, "sigmoid": dpo_loss}
"""By TRL's name of the loss type; `nca_priv` is NCA's on both sides."""


def row_metrics(
    log_probs: Tensor, reference: Tensor, beta: float, sides: Sequence[str]
) -> dict[str, Tensor]:
    """What is logged of each row: one tensor of shape `(rows,)` a name.

    `rewards/accuracies_i` is 1 where side i rewards its chosen answer more than its rejected one;
    `rewards/ics` is 1 where both sides do, the training-time counterpart of the benchmark's ICS.

    Args:
        log_probs: Of the policy, shape `(rows, sides, 2)`: side, then (chosen, rejected).
        reference: Of the reference model, the same shape.
        beta: As in `nca_loss`.
        sides: Suffixes of the sides.
    """
    rewards = beta * (log_probs - reference)
    margins = rewards[..., 0] - rewards[..., 1]
    right = (margins > 0).to(rewards.dtype)
    metrics: dict[str, Tensor] = {}
    for index, side in enumerate(sides):
        for which, choice in enumerate(CHOICES):
            metrics[f"rewards/{choice}{side}"] = rewards[:, index, which]
            metrics[f"logps/{choice}{side}"] = log_probs[:, index, which]
        metrics[f"rewards/margins{side}"] = margins[:, index]
        metrics[f"rewards/accuracies{side}"] = right[:, index]
    metrics["rewards/margins"] = margins.mean(dim=1)
    metrics["rewards/accuracies"] = right.mean(dim=1)
    if len(sides) > 1:
        metrics["rewards/ics"] = right.prod(dim=1)
    return metrics
