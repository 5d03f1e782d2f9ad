"""Names for the contents of tensors, for caches on disk."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import xxhash
from torch import Tensor

CHUNK = 2**24
"""Numbers of a GPU's tensor that are looked at together: 128 MiB of 64-bit integers."""

_MULTIPLIERS = (0x5851F42D4C957F2D, 0x2545F4914F6CDD1D)


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """Return 128 bits of the contents, shapes and types of `tensors`; not proof against attacks.

    Tensors of a GPU are digested there (moving the weights of a 7B model to the CPU takes 13 s),
    by another formula than those of a CPU.
    """
    digest = xxhash.xxh3_128()
    sums: list[Tensor] = []
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        if not tensor.numel():
            continue
        whole = tensor.detach().contiguous().view(-1)
        if whole.is_cuda:
            sums += [_sums(part) for part in whole.split(CHUNK)]
        else:
            digest.update(whole.cpu().view(torch.uint8).numpy().data)
    if sums:
        digest.update(repr(torch.stack(sums).tolist()).encode())
    return digest.hexdigest()


def _sums(numbers: Tensor) -> Tensor:
    """Return two sums of the bits of `numbers` modulo 2^64, each weighted by a pseudo-random odd
    multiplier of its place; `(2,)`."""
    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = numbers.view(whole[numbers.element_size()]).long()
    place = torch.arange(1, len(bits) + 1, device=bits.device)
    sums = []
    for multiplier in _MULTIPLIERS:
        weights = place * multiplier
        weights = (weights ^ (weights >> 29)) * multiplier | 1
        sums.append((bits * weights).sum())
    return torch.stack(sums)
