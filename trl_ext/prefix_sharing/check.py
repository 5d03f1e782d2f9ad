"""Whether a model allows shared prefixes: both layouts are compared before one is trusted."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from trl_ext.prefix_sharing.attention import text_config
from trl_ext.prefix_sharing.log_probs import Attention, tree_log_probs
from trl_ext.prefix_sharing.plain import floating_dtype, plain_log_probs, unwrapped
from trl_ext.prefix_sharing.token_batch import Layout, TokenBatch
from trl_ext.prefix_sharing.tree import SharingUnsupportedError
from trl_ext.prefix_sharing.vision import VisionCache

logger = logging.getLogger(__name__)


def load_layout(prefix_sharing: str, vision_cache: str | None = None) -> Layout:
    """The layout for a model: `"off"` never shares prefixes, every other value does.

    A layout that shares prefixes remembers whether the model allows it, so each model has its own.

    Args:
        prefix_sharing: As in `PrefixSharingConfig`.
        vision_cache: Folder for the picture features of a frozen vision tower.
    """
    if prefix_sharing == "off":
        return plain_log_probs
    return CheckedPrefixTree(cache=VisionCache(vision_cache) if vision_cache else None)


class CheckedPrefixTree:
    """A `Layout` that shares prefixes where that is exact for the model, and warns where not.

    On the first batch a few sequences are run both ways without gradient. A family whose
    attention is more than the tree mask knows of (state spaces, packed pictures, masks of its own)
    gives other numbers, or an error: then every batch is a plain one, and one warning says why.
    """

    CHECKED_SEQUENCES = 4

    def __init__(self, attention: Attention = "auto", cache: VisionCache | None = None) -> None:
        self.attention: Attention = attention
        self.cache = cache
        self._exact: bool | None = None

    def __call__(self, model: nn.Module, batch: TokenBatch) -> Tensor:
        if self._exact is None:
            self._exact = self._compare(model, batch)
        if self._exact:
            return tree_log_probs(model, batch, attention=self.attention, cache=self.cache)
        return plain_log_probs(model, batch)

    def _shared(self, model: nn.Module, batch: TokenBatch) -> Tensor:
        return tree_log_probs(model, batch, attention=self.attention, cache=self.cache)

    def _compare(self, model: nn.Module, batch: TokenBatch) -> bool:
        first = [i for i, own in enumerate(batch.picture) if own == batch.picture[0]]
        few = batch.take(first[: self.CHECKED_SEQUENCES])
        config = text_config(model)
        implementation = config._attn_implementation
        modes = [(module, module.training) for module in model.modules()]
        model.eval()  # dropout would differ between any two passes
        try:
            with torch.no_grad():
                plain = plain_log_probs(model, few)
                problem = self._problem(model, few, plain)
        finally:
            for module, training in modes:
                module.training = training
        if not _on_every_process(problem is None, plain.device):
            config._attn_implementation = implementation
            logger.warning(
                "prefixes are not shared: %s; training goes on with one row a sequence, "
                'slower and equally exact; prefix_sharing="off" silences this',
                problem or "another process found that it cannot",
            )
            return False
        return True

    def _problem(self, model: nn.Module, few: TokenBatch, plain: Tensor) -> str | None:
        try:
            shared = self._shared(model, few)
        except (SharingUnsupportedError, TypeError, ValueError, AttributeError, KeyError) as error:
            return f"{type(unwrapped(model)).__name__} does not take a packed tree ({error})"
        lengths = torch.tensor(few.completion_lengths, device=plain.device)
        difference = ((shared - plain).abs() / lengths).max().item()
        allowed = _allowed_difference(floating_dtype(model))
        if not difference <= allowed:  # NaN is a problem, too
            return (
                f"{type(unwrapped(model)).__name__} gives other log-probabilities on a packed tree "
                f"({difference:.2g} a token; rounding explains {allowed:.2g})"
            )
        return None


def _allowed_difference(dtype: torch.dtype) -> float:
    """Log-probability a token that rounding explains, between two orders of the same sums."""
    return {torch.float64: 1e-9, torch.float32: 1e-4}.get(dtype, 0.1)


def _on_every_process(verdict: bool, device: torch.device) -> bool:
    """True if all processes say so: a collective needs all of them in the same layout."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return verdict
    votes = torch.tensor(int(verdict), device=device)
    torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MIN)
    return bool(votes.item())
