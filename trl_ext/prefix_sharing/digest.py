"""Names for the contents of tensors, for caches on disk."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import xxhash
from torch import Tensor


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """128 bits of the contents, shapes and types of `tensors`; not proof against an adversary."""
    digest = xxhash.xxh3_128()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.numel():
            whole = tensor.detach().contiguous().cpu().view(-1)
            digest.update(whole.view(torch.uint8).numpy().data)
    return digest.hexdigest()
