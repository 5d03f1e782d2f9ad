"""The prefix-tree layout: what the sequences of a batch share is computed once.

The four sequences of a row look at one picture and share most of a prompt; the rows of one
picture share the picture. One model call over the packed tree (`trl_ext.token_tree`) encodes each
picture once, computes each distinct prefix once and makes logits only where a completion token is
predicted. It returns what `trl_ext.plain_batch` returns, to rounding: `CheckedPrefixTree` compares
the two on the first batch, and keeps to the plain one where a model family does not allow it.
`docs/prefix_tree.md` has the drawing, the floor and the measurements.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from trl_ext import plain_batch
from trl_ext.chunked_log_probs import CHUNK, log_probs_head
from trl_ext.packed_batch import pack
from trl_ext.plain_batch import floating_dtype, unwrapped, vision_inputs
from trl_ext.sequences import Sequences
from trl_ext.token_tree import SharingUnsupportedError
from trl_ext.tree_attention import (
    BLOCK,
    choose_attention,
    text_config,
    tree_mask,
    use_tree_attention,
)
from trl_ext.vision_cache import VisionCache

logger = logging.getLogger(__name__)

Attention = Literal["auto", "dense", "flex"]


def completion_log_probs(
    model: nn.Module,
    sequences: Sequences,
    *,
    attention: Attention = "auto",
    chunk: int = CHUNK,
    cache: VisionCache | None = None,
) -> Tensor:
    """Summed log-probability of each completion, from one call over the packed trees.

    The text layers of `model` are switched to `trl_ext.tree_attention` and stay so.

    Args:
        model: A causal language model of transformers, with or without pictures, wrapped or not.
        sequences: On the model's device; sequences of equal `picture` form one tree.
        attention: `"dense"` masks run everywhere, one line a tree; `"flex"` needs a GPU and puts
            all trees into one line; `"auto"` takes flex where it can.
        chunk: Predicting places whose logits exist at a time.
        cache: Of picture features, for a frozen vision tower.

    Returns:
        Shape `(len(sequences),)`, float32 (float64 for a float64 model), differentiable.

    Raises:
        SharingUnsupportedError: where these sequences or this model cannot share prefixes.
    """
    kind = choose_attention(model) if attention == "auto" else attention
    flex = kind == "flex"
    batch = pack(model, sequences, one_line=flex, multiple=BLOCK if flex else 1)
    use_tree_attention(model)
    inputs = {
        **batch.inputs,
        **vision_inputs(_one_of_each_picture(sequences, batch.pictures), floating_dtype(model)),
        "attention_mask": tree_mask(model, batch, kind),
        "use_cache": False,
    }
    served: AbstractContextManager[None] = nullcontext()
    if cache is not None and batch.pictures:
        served = cache.serving(model, [sequences.vision[each] for each in batch.pictures])
    with served, log_probs_head(model, batch.places, batch.labels, chunk):
        token_log_probs: Tensor = model(**inputs).logits[0, :, 0]
    sums = token_log_probs.new_zeros(len(sequences))
    return sums.index_add(0, batch.owner, token_log_probs)


def take(sequences: Sequences, indices: list[int]) -> Sequences:
    """The sequences at `indices`, with all pictures."""

    def chosen(values: list[Tensor]) -> list[Tensor]:
        return [values[index] for index in indices]

    return replace(
        sequences,
        input_ids=chosen(sequences.input_ids),
        prompt_lengths=[sequences.prompt_lengths[index] for index in indices],
        picture=[sequences.picture[index] for index in indices],
        token_inputs={name: chosen(values) for name, values in sequences.token_inputs.items()},
    )


def _one_of_each_picture(sequences: Sequences, pictures: list[int]) -> Sequences:
    return take(sequences, [sequences.picture.index(picture) for picture in pictures])


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

    def __call__(self, model: nn.Module, sequences: Sequences) -> Tensor:
        if self._exact is None:
            self._exact = self._compare(model, sequences)
        if self._exact:
            return completion_log_probs(
                model, sequences, attention=self.attention, cache=self.cache
            )
        return plain_batch.completion_log_probs(model, sequences)

    def _shared(self, model: nn.Module, sequences: Sequences) -> Tensor:
        return completion_log_probs(model, sequences, attention=self.attention, cache=self.cache)

    def _compare(self, model: nn.Module, sequences: Sequences) -> bool:
        first = [i for i, own in enumerate(sequences.picture) if own == sequences.picture[0]]
        few = take(sequences, first[: self.CHECKED_SEQUENCES])
        config = text_config(model)
        implementation = config._attn_implementation
        modes = [(module, module.training) for module in model.modules()]
        model.eval()  # dropout would differ between any two passes
        try:
            with torch.no_grad():
                plain = plain_batch.completion_log_probs(model, few)
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

    def _problem(self, model: nn.Module, few: Sequences, plain: Tensor) -> str | None:
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
