"""The plain layout: every sequence is one padded row of one ordinary model call.

It is the reference that every other layout is compared with. Padding is on the right, so each
sequence has the positions that it would have alone; logits are computed only where some sequence
predicts a completion token, and the softmax is taken in float32 (float64 in a float64 model).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from trl_ext.prefix_sharing.inner_model import floating_dtype, unwrapped
from trl_ext.prefix_sharing.token_batch import TokenBatch, send


def plain_log_probs(model: nn.Module, batch: TokenBatch) -> Tensor:
    """Compute the summed log-probability of each completion given its prompt and pictures.

    Args:
        model: A causal language model of transformers, with or without pictures, wrapped or not.
        batch: Its `device` is the model's.

    Returns:
        Shape `(len(batch),)`, float32 (float64 for a float64 model), differentiable.
    """
    positions = _predicting_positions(batch)
    pictures = [batch.vision[index] for index in batch.picture if index >= 0]
    inputs = {
        **{name: send(values, batch.device) for name, values in _text_inputs(batch).items()},
        **vision_inputs(pictures, floating_dtype(model), batch.device),
        "use_cache": False,
    }
    if _keeps_logits_at(model, "logits_to_keep"):
        logits = model(**inputs, logits_to_keep=send(positions, batch.device)).logits
        columns = {position: column for column, position in enumerate(positions.tolist())}
    else:
        logits = model(**inputs).logits
        columns = {position: position for position in positions.tolist()}

    lengths = batch.completion_lengths
    rows = torch.arange(len(batch)).repeat_interleave(torch.tensor(lengths))
    places = [
        columns[place]
        for start, length in zip(batch.prompt_lengths, lengths, strict=True)
        for place in range(start - 1, start - 1 + length)
    ]
    predictions = logits[send(rows, logits.device), send(torch.tensor(places), logits.device)]
    targets = torch.cat(
        [ids[start:] for ids, start in zip(batch.input_ids, batch.prompt_lengths, strict=True)]
    )
    targets = send(targets, logits.device)
    token_log_probs = -F.cross_entropy(_upcast(predictions), targets, reduction="none")
    return torch.stack([part.sum() for part in torch.split(token_log_probs, lengths)])


def vision_inputs(
    groups: Sequence[dict[str, Tensor]], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """Join picture groups of a `TokenBatch`, in order, into one batch of the processor's tensors.

    Tensors are joined along their first dimension. Where the others differ (tiles of pictures of
    different shape), they are padded with zeros, which is how the processors pad a batch.
    """

    def sent(tensor: Tensor) -> Tensor:
        tensor = send(tensor, device)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return {
        name: _concatenate([sent(group[name]) for group in groups if name in group])
        for name in dict.fromkeys(name for group in groups for name in group)
    }


def _predicting_positions(batch: TokenBatch) -> Tensor:
    """Return the sorted positions that predict a completion token in at least one sequence."""
    spans = zip(batch.input_ids, batch.prompt_lengths, strict=True)
    positions = {place for ids, start in spans for place in range(start - 1, len(ids) - 1)}
    return torch.tensor(sorted(positions))


def _text_inputs(batch: TokenBatch) -> dict[str, Tensor]:
    # Padding repeats a sequence's last token: any token will do under the attention mask, but a
    # padding token that a model takes for a picture would not.
    longest = max(len(ids) for ids in batch.input_ids)
    padded = [torch.cat([ids, ids[-1:].expand(longest - len(ids))]) for ids in batch.input_ids]
    masks = [torch.ones_like(ids) for ids in batch.input_ids]
    return {
        "input_ids": torch.stack(padded),
        "attention_mask": pad_sequence(masks, batch_first=True),
        **{
            name: pad_sequence(values, batch_first=True)
            for name, values in batch.token_inputs.items()
        },
    }


def _concatenate(tensors: list[Tensor]) -> Tensor:
    largest = [max(sizes) for sizes in zip(*(each.shape[1:] for each in tensors), strict=True)]
    padded = [
        F.pad(
            each,
            [
                pad
                for size, want in zip(each.shape[:0:-1], largest[::-1], strict=True)
                for pad in (0, want - size)
            ],
        )
        for each in tensors
    ]
    return torch.cat(padded)


def _keeps_logits_at(model: nn.Module, name: str) -> bool:
    return name in inspect.signature(type(unwrapped(model)).forward).parameters


def _upcast(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
