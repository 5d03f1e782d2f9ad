"""Log-probabilities of completions from one model call over packed prefix trees.

The sequences of a row show the same pictures and share most of a prompt; the rows of one picture
share the picture. One call over the packed tree encodes each picture once, computes each distinct
prefix once and makes logits only where a completion token is predicted, in chunks that are computed
again in the backward pass: 1,422 tokens of Qwen2-VL would be 0.8 GiB of float32 logits, where 24 of
them are needed. `docs/prefix_tree.md` has the drawing, the lower bound and the measurements.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trl_ext.prefix_sharing.attention import (
    BLOCK,
    choose_attention,
    tree_mask,
    use_tree_attention,
)
from trl_ext.prefix_sharing.inner_model import floating_dtype, unwrapped
from trl_ext.prefix_sharing.packing import PackedBatch, pack
from trl_ext.prefix_sharing.plain import vision_inputs
from trl_ext.prefix_sharing.token_batch import TokenBatch
from trl_ext.prefix_sharing.vision import VisionCache

Attention = Literal["auto", "dense", "flex"]


CHUNK = 256
"""Places per chunk: 148 MiB of float32 logits for a vocabulary of 152,064 words."""


def tree_log_probs(
    model: nn.Module,
    batch: TokenBatch,
    *,
    attention: Attention = "auto",
    chunk: int = CHUNK,
    cache: VisionCache | None = None,
) -> Tensor:
    """Compute the summed log-probability of each completion by one call over the packed trees.

    The text layers of `model` are switched to `prefix_sharing.attention` and stay so.

    Args:
        model: A causal language model of transformers, with or without pictures, wrapped or not.
        batch: Its `device` is the model's.
        attention: `"dense"` masks run everywhere, one line a tree; `"flex"` needs a GPU and puts
            all trees into one line; `"auto"` takes flex where it runs.
        chunk: Number of predicting places whose logits exist at a time.
        cache: Cache of picture features, for a frozen vision tower.

    Returns:
        Shape `(len(batch),)`, float32 (float64 for a float64 model), differentiable.

    Raises:
        SharingUnsupportedError: these sequences or this model cannot share prefixes.
    """
    packed = pack_for(model, batch, attention)
    return packed_log_probs(model, batch, packed, chunk=chunk, cache=cache)


def pack_for(model: nn.Module, batch: TokenBatch, attention: Attention = "auto") -> PackedBatch:
    """Lay out the trees of a batch for `attention`; arguments as in `tree_log_probs`."""
    longest = max(len(ids) for ids in batch.input_ids)
    kind = choose_attention(model, longest) if attention == "auto" else attention
    flex = kind == "flex"
    return pack(model, batch, one_line=flex, multiple=BLOCK if flex else 1)


def packed_log_probs(
    model: nn.Module,
    batch: TokenBatch,
    packed: PackedBatch,
    *,
    chunk: int = CHUNK,
    cache: VisionCache | None = None,
) -> Tensor:
    """Compute `tree_log_probs` of a batch that is packed already."""
    use_tree_attention(model)
    pictures = [batch.vision[each] for each in packed.pictures]
    inputs = {
        **packed.inputs,
        **vision_inputs(pictures, floating_dtype(model), batch.device),
        "attention_mask": tree_mask(model, packed),
        "use_cache": False,
    }
    served: AbstractContextManager[None] = nullcontext()
    if cache is not None and pictures:
        served = cache.serving(model, pictures)
    with served, log_probs_head(model, packed.places, packed.labels, chunk):
        token_log_probs: Tensor = model(**inputs).logits[0, :, 0]
    sums = token_log_probs.new_zeros(len(batch))
    return sums.index_add(0, packed.owner, token_log_probs)


def chunked_log_probs(head: Any, hidden: Tensor, labels: Tensor, chunk: int = CHUNK) -> Tensor:
    """Compute log p(label | hidden state) in float32 (float64 for float64 states).

    Args:
        head: From hidden states `(n, width)` to logits `(n, vocabulary)`.
        hidden: `(places, width)`.
        labels: `(places,)`.
        chunk: Number of places whose logits exist at a time.
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
    """Let `model(...).logits` be the labels' log-probabilities, `(1, places, 1)`, while open.

    The head stays inside the model's own call, so that whatever wraps it (DDP, FSDP, DeepSpeed's
    gathered weights, LoRA on the head) works as usual; only its `forward` is replaced.

    Args:
        model: With an output embedding, wrapped or not.
        places: Places of the predicting hidden states in the flattened `(batch * columns,)`.
        labels: The tokens they predict; `(places,)`.
        chunk: Number of places whose logits exist at a time.
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
            del head.forward  # uncovers that of the class
