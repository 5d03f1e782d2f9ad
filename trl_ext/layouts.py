"""The layouts by the names of `NCAPrivConfig.prefix_sharing`."""

from __future__ import annotations

from trl_ext import plain_batch
from trl_ext.prefix_tree import CheckedPrefixTree
from trl_ext.sequences import Layout
from trl_ext.vision_cache import VisionCache


def load_layout(prefix_sharing: str, vision_cache: str | None = None) -> Layout:
    """The layout for a model: `"off"` never shares prefixes, every other value does.

    A layout that shares prefixes remembers whether the model allows it, so each model has its own.

    Args:
        prefix_sharing: As in `NCAPrivConfig`.
        vision_cache: Folder for the picture features of a frozen vision tower.
    """
    if prefix_sharing == "off":
        return plain_batch.completion_log_probs
    return CheckedPrefixTree(cache=VisionCache(vision_cache) if vision_cache else None)
