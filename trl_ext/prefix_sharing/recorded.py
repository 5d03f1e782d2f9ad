"""Metrics of training batches: kept on the device, read by all processes together, seldom."""

from __future__ import annotations

import logging
from dataclasses import astuple

import torch
from accelerate.utils import gather_object
from torch import Tensor

from trl_ext.prefix_sharing.check import SharedTokens

logger = logging.getLogger(__name__)


class RecordedMetrics:
    """Metrics since they were last shared.

    Reading a number waits for the GPU, and processes may hold different numbers of rows: both cost
    in every batch what they cost once per log.
    """

    def __init__(self) -> None:
        self.tokens = 0  # of all sequences, since training began
        self._rows: dict[str, list[Tensor]] = {}
        self._here = 0
        self._said = False

    def add(self, metrics: dict[str, Tensor], tokens: int = 0) -> None:
        """Record metrics of shape `(rows,)`, and tokens that were trained on."""
        for name, values in metrics.items():
            self._rows.setdefault(name, []).append(values.detach().float())
        self._here += tokens

    def share(self, counted: SharedTokens) -> dict[str, list[float]]:
        """The recorded numbers of all processes, which must call this together.

        Args:
            counted: What this process counted of shared prefixes.
        """
        names = list(self._rows)
        columns = [torch.cat(self._rows[name]) for name in names]
        table = torch.stack(columns).tolist() if columns else []
        mine = (self._here, astuple(counted), dict(zip(names, table, strict=True)))
        self._rows, self._here = {}, 0
        everywhere = gather_object([mine])
        self.tokens += sum(tokens for tokens, _, _ in everywhere)
        shared: dict[str, list[float]] = {}
        for _, _, rows in everywhere:
            for name, values in rows.items():
                shared.setdefault(name, []).extend(values)
        counts = [SharedTokens(*counts) for _, counts, _ in everywhere]
        if sequences := sum(each.sequences for each in counts):
            computed = sum(each.computed for each in counts)
            batches = sum(each.batches for each in counts)
            shared["prefix_sharing/tokens_saved"] = [1 - computed / sequences]
            if not self._said:
                self._said = True
                logger.info(
                    "shared prefixes: %d tokens computed instead of %d (%.0f%% saved)",
                    *(computed, sequences, 100 * (1 - computed / sequences)),
                )
            shared["prefix_sharing/plain_batches"] = [sum(e.plain for e in counts) / batches]
        return shared
