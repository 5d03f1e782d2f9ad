"""Metrics of training batches: kept on the device, read by all processes together, once per log."""

from __future__ import annotations

import logging
from dataclasses import astuple
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from trl_ext.nca_priv.nca_priv_trainer import append_metrics
from trl_ext.prefix_sharing.check import CheckedPrefixTree, SharedTokens
from trl_ext.prefix_sharing.token_batch import Layout

logger = logging.getLogger(__name__)


class RecordedMetrics:
    """Collects what is logged about a run's rows and tokens.

    Reading a number waits for the GPU, and processes may hold different numbers of rows, so that
    metrics of training batches are only read by `share`.

    Besides the trainer's metrics, it logs `num_tokens` as `trl.DPOTrainer` counts them (those of
    every sequence trained on so far, whatever is shared), `completion_tokens` (mean of a row's
    answers), and with shared prefixes `prefix_sharing/tokens_saved` (the share of tokens that no
    layer had to compute) and `prefix_sharing/plain_batches` (the share of batches that could not
    be shared).
    """

    def __init__(self) -> None:
        self.seen = 0
        self._rows: dict[str, list[Tensor]] = {}
        self._tokens = 0
        self._said = False

    def append(self, trainer: Any, metrics: dict[str, Tensor]) -> None:
        """Keep metrics of shape `(rows,)` for the next log."""
        if not trainer.model.training:
            append_metrics(trainer, metrics)
            return
        for name, values in metrics.items():
            self._rows.setdefault(name, []).append(values.detach().float())

    def count(self, trainer: Any, inputs: dict[str, Any]) -> None:
        """Keep a batch's tokens for the next log."""
        lengths = inputs["completion_tokens"].flatten(1).sum(dim=1)
        self.append(trainer, {"completion_tokens": lengths})
        if trainer.model.training:
            self._tokens += sum(map(len, inputs["sequences"].input_ids))
        else:
            for name, value in _shares([_counted(trainer.layout)]).items():
                trainer._metrics["eval"][name].append(value)

    def share(self, trainer: Any) -> None:
        """Hand what all processes recorded to the next `log`; they must call this together."""
        names = list(self._rows)
        columns = [torch.cat(self._rows[name]) for name in names]
        table = torch.stack(columns).tolist() if columns else []
        mine = (
            self._tokens,
            astuple(_counted(trainer.layout)),
            dict(zip(names, table, strict=True)),
        )
        self._rows, self._tokens = {}, 0
        everywhere = gather_object([mine])
        metrics = trainer._metrics["train"]
        for tokens, _, rows in everywhere:
            self.seen += tokens
            for name, values in rows.items():
                metrics[name].extend(values)
        metrics["num_tokens"] = [self.seen]
        shares = _shares([SharedTokens(*counts) for _, counts, _ in everywhere])
        for name, value in shares.items():
            metrics[name].append(value)
        if shares and not self._said:
            self._said = True
            logger.info(
                "shared prefixes save %.1f%% of the tokens; %.1f%% of the batches run plain",
                *(100 * value for value in shares.values()),
            )


def _counted(layout: Layout) -> SharedTokens:
    return layout.take_counts() if isinstance(layout, CheckedPrefixTree) else SharedTokens()


def _shares(counts: list[SharedTokens]) -> dict[str, float]:
    """Return shares of tokens and batches; empty where nothing was counted."""
    sequences, computed, batches, plain = map(sum, zip(*map(astuple, counts), strict=True))
    if not sequences:
        return {}
    return {
        "prefix_sharing/tokens_saved": 1 - computed / sequences,
        "prefix_sharing/plain_batches": plain / batches,
    }
