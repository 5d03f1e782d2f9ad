"""Prepare torchvision, which transformers imports if installed; see `compat.torchvision`."""

from spy_plugin.compat.torchvision import declare_missing_ops

declare_missing_ops()
