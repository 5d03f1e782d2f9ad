"""The ways of a training step that `train_step.py` measures."""

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
        name: For the table.
        layout: `"official"` (every sequence by itself, all logits, log-probabilities summed in
            the model's dtype), `"plain"` (our plain batch) or `"tree"`.
        sharing: What sequences share a picture group: `"sequence"`, `"row"` or `"image"`.
        attention: Of the tree.
        reference: A reference model runs beside; otherwise its log-probabilities are at hand.
        recompute: Gradient checkpointing.
        kept: Text layers that keep their activations nevertheless.
        compiled: `torch.compile` on each layer.
        features: The vision tower is frozen and its features are at hand.
        micro: Rows in one forward and backward; a step accumulates over them.
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
    """Every mode; the compiled ones last, since layers stay so."""
    official = Mode("official", "official", "sequence", micro=micro)
    row = Mode("tree a row", sharing="row", micro=row_micro)
    image = Mode("tree an image")
    chosen = [official, replace(official, name="plain batch", layout="plain")]
    eager: list[Mode] = []
    for base in (image, row):  # shapes that repeat first: later ones are compiled as dynamic
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
    """As the official trainer: one row a sequence, logits everywhere, no upcast."""
    lengths = {len(ids) for ids in sequences.input_ids}
    if len(lengths) != 1:
        raise ValueError("the benchmark's sequences are all of one length")
    input_ids = torch.stack(sequences.input_ids)
    logits = model(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        mm_token_type_ids=torch.stack(sequences.token_inputs["mm_token_type_ids"]),
        use_cache=False,
        **vision_inputs(sequences, floating_dtype(model)),
    ).logits
    prompt = sequences.prompt_lengths[0]
    log_probs = logits[:, :-1].log_softmax(-1)
    chosen = log_probs.gather(2, input_ids[:, 1:, None])[..., 0]
    return chosen[:, prompt - 1 :].sum(-1).float()


def loss_of(log_probs: Tensor, reference: Tensor) -> Tensor:
    """NCA-P, summed over rows; sequences are chosen, rejected, chosen, rejected of each row."""
    reward = BETA * (log_probs - reference)
    chosen, rejected = reward[0::2], reward[1::2]
    losses = F.logsigmoid(chosen) + (F.logsigmoid(-chosen) + F.logsigmoid(-rejected)) / 2
    return -losses.sum()
