"""Training written out: naive log-probabilities, the formula of the loss, AdamW, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tests.trl_ext.rows import naive_loss, naive_table

Row = dict[str, Any]


def train_naively(
    model: Any,
    reference: torch.Tensor | None,
    processor: Any,
    rows: Sequence[Row],
    steps: Sequence[Sequence[Sequence[int]]],
    *,
    beta: float,
    learning_rate: float,
    mean_rows: float | None = None,
) -> None:
    """Train `model` in place by the definition of NCA-P.

    Args:
        model: Trained in place.
        reference: Reference log-probabilities of `rows`, `(rows, sides, choices)`; the model's own
            before training by default.
        processor: The model's processor.
        rows: Data.
        steps: Batches of row indices of each optimizer step.
        beta: As in the paper.
        learning_rate: Of AdamW, without weight decay.
        mean_rows: Divisor of a batch's sum; a batch's own rows by default.
    """
    if reference is None:
        with torch.no_grad():
            reference = naive_table(model, processor, list(rows))
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    for batches in steps:
        optimizer.zero_grad()
        for batch in batches:
            policy = naive_table(model, processor, [rows[row] for row in batch])
            loss = naive_loss(policy, reference[list(batch)], beta)
            weight = 1.0 if mean_rows is None else len(batch) / mean_rows
            (loss * weight / len(batches)).backward()
        optimizer.step()
