"""What is logged of tokens: how many were trained on, and what sharing saved."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

from accelerate.utils import gather_object

from trl_ext.nca_priv.nca_priv_trainer import append_metrics
from trl_ext.prefix_sharing.check import CheckedPrefixTree, SharedTokens
from trl_ext.prefix_sharing.token_batch import Layout


class TokenCounter:
    """Counts tokens over a run, those of all processes.

    Logs `num_tokens` as `trl.DPOTrainer` counts them (those of every sequence trained on so far,
    whatever is shared), `completion_tokens` (mean of a row's answers), and with shared prefixes
    `prefix_sharing/tokens_saved` (the share of tokens that no layer had to compute) and
    `prefix_sharing/plain_batches` (the share of batches that could not be shared).
    """

    def __init__(self) -> None:
        self.seen = 0

    def record(self, trainer: Any, inputs: dict[str, Any], layout: Layout) -> None:
        """Keep a batch's counts for the next log."""
        training = trainer.model.training
        lengths = inputs["completion_tokens"].flatten(1).sum(dim=1)
        append_metrics(trainer, {"completion_tokens": lengths})
        shared = SharedTokens()
        if isinstance(layout, CheckedPrefixTree):
            shared = layout.take_counts()
        trained = int(inputs["attention_mask"].sum()) if training else 0
        everywhere = gather_object([(trained, *astuple(shared))])
        trained, sequences, computed, plain = map(sum, zip(*everywhere, strict=True))
        self.seen += trained
        metrics = trainer._metrics["train" if training else "eval"]
        metrics["num_tokens"] = [self.seen]
        if sequences:
            metrics["prefix_sharing/tokens_saved"].append(1 - computed / sequences)
            metrics["prefix_sharing/plain_batches"].append(plain / len(everywhere))
