"""The NCA-P loss (NCA on both sides of a privacy instruction), on log-ratios alone.

A row has two prompts about one picture: side 0 says the user does not call something private,
side 1 says that they do. Each side has a chosen and a rejected answer, so a row is a 2 x 2 table
of completions, side by choice; `ROW` names its four entries in the order they are stored.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SIDES = (0, 1)
CHOICES = ("chosen", "rejected")
ROW = tuple(f"{choice}_{side}" for side in SIDES for choice in CHOICES)


def nca_priv_loss(log_ratios: Tensor, beta: float) -> Tensor:
    """The loss of each row, summed over its two sides.

    With the implicit reward r(y) = beta * (log pi(y|x) - log ref(y|x)), each side i adds
    -logsigmoid(r(chosen_i)) - 1/2 logsigmoid(-r(chosen_i)) - 1/2 logsigmoid(-r(rejected_i)):
    the pairwise NCA loss (arXiv 2402.05369), once for each side of the instruction.

    Args:
        log_ratios: log pi - log ref of each completion, shape `(rows, 2, 2)`: side, then
            (chosen, rejected).
        beta: Strength of the pull towards the reference.

    Returns:
        Shape `(rows,)`.
    """
    chosen, rejected = (beta * log_ratios).unbind(dim=2)
    sides = -F.logsigmoid(chosen) - 0.5 * F.logsigmoid(-chosen) - 0.5 * F.logsigmoid(-rejected)
    return sides.sum(dim=1)


def row_metrics(log_probs: Tensor, reference: Tensor, beta: float) -> dict[str, Tensor]:
    """What is logged of each row: one tensor of shape `(rows,)` a name.

    `rewards/accuracies_i` is 1 where side i rewards its chosen answer more than its rejected one;
    `rewards/ics` is 1 where both sides do, the training-time counterpart of the benchmark's ICS.

    Args:
        log_probs: Of the policy, shape `(rows, 2, 2)`: side, then (chosen, rejected).
        reference: Of the reference model, the same shape.
        beta: As in `nca_priv_loss`.
    """
    rewards = beta * (log_probs - reference)
    margins = rewards[..., 0] - rewards[..., 1]
    right = (margins > 0).to(rewards.dtype)
    metrics: dict[str, Tensor] = {}
    for side in SIDES:
        for index, choice in enumerate(CHOICES):
            metrics[f"rewards/{choice}_{side}"] = rewards[:, side, index]
            metrics[f"logps/{choice}_{side}"] = log_probs[:, side, index]
        metrics[f"rewards/margins_{side}"] = margins[:, side]
        metrics[f"rewards/accuracies_{side}"] = right[:, side]
    metrics["rewards/margins"] = margins.mean(dim=1)
    metrics["rewards/accuracies"] = right.mean(dim=1)
    metrics["rewards/ics"] = right.prod(dim=1)
    return metrics
