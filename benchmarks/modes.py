"""The modes of a training step that `train_step.py` measures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trl_ext.prefix_sharing.plain import floating_dtype, vision_inputs
from trl_ext.prefix_sharing.token_batch import TokenBatch

BETA = 0.01


@dataclass(frozen=True)
class Mode:
    """One way to run a step.

    Attributes:
        name: Name in the table.
        layout: `"official"` (every sequence separately, all logits, log-probabilities summed in
            the model's dtype), `"plain"` (our plain batch) or `"tree"`.
        sharing: Which sequences share a picture: `"sequence"` (none), `"row"` or `"image"`.
        attention: Attention of the tree.
        reference: Run a reference model; otherwise its log-probabilities are precomputed.
        recompute: Use gradient checkpointing.
        kept: Text layers that keep their activations despite gradient checkpointing.
        compiled: Apply `torch.compile` to each layer.
        features: Freeze the vision tower and cache its features.
        micro: Rows per forward and backward pass; a step accumulates over them.
    """

    name: str
    layout: str = "tree"
    sharing: str = "image"
    attention: str = "auto"
    reference: bool = True
    recompute: bool = True
    kept: int = 0
    compiled: bool = False
    features: bool = False
    micro: int = 8


def modes(gpu: bool, micro: int, row_micro: int) -> list[Mode]:
    """All modes, the compiled ones last, since compiled layers stay compiled."""
    official = Mode("official", "official", "sequence", micro=micro)
    row = Mode("tree per row", sharing="row", micro=row_micro)
    image = Mode("tree per image")
    chosen = [official, replace(official, name="plain batch", layout="plain")]
    eager: list[Mode] = []
    for base in (image, row):  # repeating shapes first: later shapes compile as dynamic
        if gpu:
            eager.append(replace(base, name=f"{base.name}, dense mask", attention="dense"))
        ready = replace(base, name=f"{base.name}, reference precomputed", reference=False)
        fast = replace(ready, name=f"{ready.name}, no recomputation", recompute=False)
        cached = replace(fast, name=f"{fast.name}, picture features cached", features=True)
        eager += [base, ready, fast, cached]
        for kept in (8, 12, 16) if gpu and base is image else ():
            eager.append(replace(ready, name=f"{ready.name}, {kept} layers kept", kept=kept))
    chosen += eager
    if gpu:
        chosen += [
            replace(each, name=f"{each.name}, compiled layers", compiled=True)
            for each in eager
            if each.attention == "auto"
        ]
    return chosen


def official_log_probs(model: Any, sequences: TokenBatch) -> Tensor:
    """Log-probabilities as in the official trainer: one sequence per row, all logits, no upcast."""
    lengths = {len(ids) for ids in sequences.input_ids}
    if len(lengths) != 1:
        raise ValueError("all sequences of the benchmark must have the same length")
    device = sequences.device
    input_ids = torch.stack(sequences.input_ids).to(device)
    logits = model(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        mm_token_type_ids=torch.stack(sequences.token_inputs["mm_token_type_ids"]).to(device),
        use_cache=False,
        **vision_inputs(
            [sequences.vision[each] for each in sequences.picture], floating_dtype(model), device
        ),
    ).logits
    prompt = sequences.prompt_lengths[0]
    log_probs = logits[:, :-1].log_softmax(-1)
    chosen = log_probs.gather(2, input_ids[:, 1:, None])[..., 0]
    return chosen[:, prompt - 1 :].sum(-1).float()


def loss_of(log_probs: Tensor, reference: Tensor) -> Tensor:
    """NCA-P loss summed over rows; each row has chosen, rejected, chosen, rejected sequences."""
    reward = BETA * (log_probs - reference)
    chosen, rejected = reward[0::2], reward[1::2]
    losses = F.logsigmoid(chosen) + (F.logsigmoid(-chosen) + F.logsigmoid(-rejected)) / 2
    return -losses.sum()
