"""A batch before any layout: token sequences, and the pictures that they show.

A *layout* decides how the sequences are run through a model: one padded row each
(`plain`), or packed so that a shared prefix is computed once. Whatever it does, it
returns the same numbers: the summed log-probability of each completion. Nothing here knows of
NCA-P, DPO, TRL or transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TokenBatch:
    """Token sequences (each a prompt, then a completion) and the pictures they share.

    It travels through `DataLoader` workers, `pin_memory` and Accelerate's `send_to_device`, which
    all treat an object with `pin_memory` and `to` as they treat a tensor. Its tensors stay on the
    CPU: layouts look at the tokens, which need not wait for the GPU there, and `send` what they
    make of them.

    Attributes:
        input_ids: One 1-D long tensor per sequence: the prompt (image tokens expanded), then the
            completion.
        prompt_lengths: Number of prompt tokens of each sequence; at least 1, so that every
            completion token has a position that predicts it, and at least one token follows.
        picture: Index in `vision` of the pictures that each sequence shows, -1 for none. Equal
            indices mean exactly the same pictures in the same order.
        vision: Tensors of the processor for each picture group: `pixel_values`, `image_grid_thw`,
            `image_sizes`, ... whatever that processor returns.
        token_inputs: Further per-token inputs of a model family by name (`token_type_ids`,
            `mm_token_type_ids`), each a 1-D tensor per sequence, as long as its `input_ids`.
        device: Device that layouts send the model's inputs to.
    """

    input_ids: list[Tensor]
    prompt_lengths: list[int]
    picture: list[int]
    vision: list[dict[str, Tensor]] = field(default_factory=list)
    token_inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        per_sequence: dict[str, list[Any]] = {
            "prompt_lengths": self.prompt_lengths,
            "picture": self.picture,
            **self.token_inputs,
        }
        for name, values in per_sequence.items():
            if len(values) != len(self.input_ids):
                raise ValueError(f"{name}: {len(values)} for {len(self.input_ids)} sequences")
        for name, tensors in self.token_inputs.items():
            if any(a.shape != b.shape for a, b in zip(tensors, self.input_ids, strict=True)):
                raise ValueError(f"{name} is not as long as input_ids in every sequence")
        for index, (ids, length) in enumerate(
            zip(self.input_ids, self.prompt_lengths, strict=True)
        ):
            if not 0 < length < len(ids):
                raise ValueError(
                    f"sequence {index} has {len(ids)} tokens, {length} of them prompt; "
                    "prompt and completion need at least one token each"
                )
            if not -1 <= self.picture[index] < len(self.vision):
                raise ValueError(
                    f"sequence {index} uses picture {self.picture[index]} of {len(self.vision)}"
                )

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def completion_lengths(self) -> list[int]:
        """Number of tokens of each completion, the end of turn included."""
        return [
            len(ids) - length
            for ids, length in zip(self.input_ids, self.prompt_lengths, strict=True)
        ]

    def take(self, indices: Sequence[int]) -> TokenBatch:
        """Return the sequences at `indices`, with all pictures."""

        def chosen(values: list[Tensor]) -> list[Tensor]:
            return [values[index] for index in indices]

        return replace(
            self,
            input_ids=chosen(self.input_ids),
            prompt_lengths=[self.prompt_lengths[index] for index in indices],
            picture=[self.picture[index] for index in indices],
            token_inputs={name: chosen(values) for name, values in self.token_inputs.items()},
        )

    def joined(self, other: TokenBatch) -> TokenBatch:
        """Return the sequences of both, each with its own pictures."""
        names = dict.fromkeys((*self.token_inputs, *other.token_inputs))
        shown = [each + len(self.vision) if each >= 0 else each for each in other.picture]

        def both(name: str) -> list[Tensor]:
            pairs = ((one, one.token_inputs.get(name)) for one in (self, other))
            return [
                value
                for one, values in pairs
                for value in values or [ids * 0 for ids in one.input_ids]
            ]

        return TokenBatch(
            input_ids=[*self.input_ids, *other.input_ids],
            prompt_lengths=[*self.prompt_lengths, *other.prompt_lengths],
            picture=[*self.picture, *shown],
            vision=[*self.vision, *other.vision],
            token_inputs={name: both(name) for name in names},
            device=self.device,
        )

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> TokenBatch:
        """Return the same sequences for a model on `device`."""
        return replace(self, device=torch.device(device))

    def pin_memory(self) -> TokenBatch:
        """Return the same sequences with their pictures in page-locked memory."""
        pinned = [{name: each.pin_memory() for name, each in one.items()} for one in self.vision]
        return replace(self, vision=pinned)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy `tensor` to `device`, without waiting for the work that runs there."""
    if device.type == "cuda" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


Layout = Callable[[nn.Module, TokenBatch], Tensor]
"""`layout(model, batch)` returns the summed completion log-probability of each sequence.

Shape `(len(batch),)`, differentiable, float32 (float64 for a float64 model). `model` may be
wrapped (DDP, FSDP, DeepSpeed, PEFT): call it, do not reach into it, where gradients are wanted.
"""
