"""Log-probabilities of given tokens without logits of a whole sequence.

A model's head turns every hidden state into one logit per word of the vocabulary: 1,422 tokens of
Qwen2-VL are 0.8 GiB in float32, where 24 of them are wanted. Within `log_probs_head` the head picks
the hidden states that predict something, and works through them in chunks whose logits are
computed again in the backward pass instead of being kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trl_ext.plain_batch import unwrapped

CHUNK = 256
"""Places at a time: 148 MiB of float32 logits for a vocabulary of 152,064 words."""


def chunked_log_probs(head: Any, hidden: Tensor, labels: Tensor, chunk: int = CHUNK) -> Tensor:
    """log p(label | hidden state), float32 (float64 for float64 states).

    Args:
        head: From hidden states `(n, width)` to logits `(n, vocabulary)`.
        hidden: `(places, width)`.
        labels: `(places,)`.
        chunk: Places whose logits exist at a time.
    """

    def of(states: Tensor, words: Tensor) -> Tensor:
        logits = head(states)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return -nn.functional.cross_entropy(logits, words, reduction="none")

    parts = zip(torch.split(hidden, chunk), torch.split(labels, chunk), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([of(*part) for part in parts])
    return torch.cat([checkpoint(of, *part, use_reentrant=False) for part in parts])


@contextmanager
def log_probs_head(
    model: nn.Module, places: Tensor, labels: Tensor, chunk: int = CHUNK
) -> Iterator[None]:
    """While open, `model(...).logits` are `(1, places, 1)`: the labels' log-probabilities.

    The head stays inside the model's own call, so that whatever wraps it (DDP, FSDP, DeepSpeed's
    gathered weights, LoRA on the head) works as ever; only its `forward` is another.

    Args:
        model: With an output embedding, wrapped or not.
        places: Of the predicting hidden states in the flattened `(batch * columns,)`.
        labels: The tokens they predict; `(places,)`.
        chunk: Places whose logits exist at a time.
    """
    inner: Any = unwrapped(model)
    head = inner.get_output_embeddings()
    original, own = head.forward, "forward" in vars(head)

    def forward(hidden: Tensor) -> Tensor:
        chosen = hidden.flatten(0, -2)[places]
        return chunked_log_probs(original, chosen, labels, chunk)[None, :, None]

    head.forward = forward
    try:
        yield
    finally:
        if own:
            head.forward = original
        else:
            del head.forward  # the class's is there again
