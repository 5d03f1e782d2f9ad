"""The layouts by the names of `NCAPrivConfig.prefix_sharing`."""

from __future__ import annotations

from trl_ext import plain_batch
from trl_ext.prefix_tree import CheckedPrefixTree
from trl_ext.sequences import Layout


def load_layout(prefix_sharing: str) -> Layout:
    """The layout for a run: `"off"` never shares prefixes, every other value does.

    A layout that shares prefixes remembers whether the model allows it, so each run has its own.
    """
    return plain_batch.completion_log_probs if prefix_sharing == "off" else CheckedPrefixTree()
