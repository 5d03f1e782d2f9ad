"""transformers imports torchvision wherever that is installed; see `torchvision_compat`."""

from spy_plugin.compat.torchvision import declare_missing_ops

declare_missing_ops()
