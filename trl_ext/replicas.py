"""Replicas of a model on several GPUs, without a second copy of the gradients.

PyTorch's DistributedDataParallel sums gradients in buckets. `SharedBuckets`, mixed into a
`Trainer`, lets the gradients be views of these: a GPU holds them once, and nothing is copied
before and after the sum.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import Trainer


class SharedBuckets(Trainer):
    """A `Trainer` whose gradients lie in the memory that its processes sum.

    Mix it in before a trainer; in one process, and with FSDP or DeepSpeed, it changes nothing.
    """

    def _wrap_model(self, *args: Any, **kwargs: Any) -> nn.Module:
        model: nn.Module = super()._wrap_model(*args, **kwargs)
        # Accelerate wraps it next. No training argument exists for this option.
        if (options := self.accelerator.ddp_handler) is not None:
            options.gradient_as_bucket_view = True
        return model
