"""What a batch is before any layout: token sequences, and the pictures they look at.

A *layout* decides how the sequences are run through a model: one padded row each
(`plain`), or packed so that a shared prefix is computed once. Whatever it does, it
returns the same numbers: the summed log-probability of each completion. Nothing here knows of
NCA-P, DPO, TRL or transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TokenBatch:
    """Token sequences (each a prompt, then a completion) and the pictures they share.

    It travels through `DataLoader` workers, `pin_memory` and Accelerate's `send_to_device`, which
    all treat an object with `pin_memory` and `to` as they treat a tensor.

    Attributes:
        input_ids: one 1-D long tensor a sequence: the prompt (image tokens expanded), then the
            completion.
        prompt_lengths: tokens of each sequence that are prompt; at least 1, so that every
            completion token has a position that predicts it, and at least one token follows.
        picture: for each sequence the index in `vision` of the pictures it uses, -1 for none.
            Equal index means exactly the same pictures in the same order.
        vision: for each picture group what the processor made of it: `pixel_values`,
            `image_grid_thw`, `image_sizes`, ... whatever that processor returns.
        token_inputs: further per-token inputs of a model family by name (`token_type_ids`,
            `mm_token_type_ids`), each a 1-D tensor a sequence, as long as its `input_ids`.
        host_ids: `input_ids` on the CPU, if they came from there: what looks at them need not
            wait for the GPU.
    """

    input_ids: list[Tensor]
    prompt_lengths: list[int]
    picture: list[int]
    vision: list[dict[str, Tensor]] = field(default_factory=list)
    token_inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    host_ids: list[Tensor] = field(default_factory=list)

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
        """Tokens of each completion, the end of turn included."""
        return [
            len(ids) - length
            for ids, length in zip(self.input_ids, self.prompt_lengths, strict=True)
        ]

    def take(self, indices: Sequence[int]) -> TokenBatch:
        """The sequences at `indices`, with all pictures."""

        def chosen(values: list[Tensor]) -> list[Tensor]:
            return [values[index] for index in indices]

        return replace(
            self,
            input_ids=chosen(self.input_ids),
            prompt_lengths=[self.prompt_lengths[index] for index in indices],
            picture=[self.picture[index] for index in indices],
            token_inputs={name: chosen(values) for name, values in self.token_inputs.items()},
            host_ids=chosen(self.host_ids) if self.host_ids else [],
        )

    def joined(self, other: TokenBatch) -> TokenBatch:
        """The sequences of both, each with its own pictures."""
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
        )

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> TokenBatch:
        """The same sequences with every tensor on `device`, their ids also where they were.

        Copies from page-locked memory never wait, whatever `non_blocking` says: PyTorch keeps
        their sources until they are done.
        """

        def sent(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking or tensor.is_pinned())

        on_cpu = [ids for ids in self.input_ids if ids.device.type == "cpu"]
        host_ids = on_cpu if len(on_cpu) == len(self) else self.host_ids
        return self._map(sent, host_ids)

    def pin_memory(self) -> TokenBatch:
        """The same sequences with every tensor in page-locked memory."""
        return self._map(Tensor.pin_memory, self.host_ids)

    def _map(self, change: Callable[[Tensor], Tensor], host_ids: list[Tensor]) -> TokenBatch:
        names = [each.name for each in fields(self) if each.name != "host_ids"]
        changed = {name: _map(change, getattr(self, name)) for name in names}
        return TokenBatch(**changed, host_ids=host_ids)


def _map(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`change` applied to every tensor in nested lists and dicts."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _map(change, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_map(change, item) for item in value]
    return value


Layout = Callable[[nn.Module, TokenBatch], Tensor]
"""`layout(model, batch)` returns the summed completion log-probability of each sequence.

Shape `(len(batch),)`, differentiable, float32 (float64 for a float64 model). `model` may be
wrapped (DDP, FSDP, DeepSpeed, PEFT): call it, do not reach into it, where gradients are wanted.
"""
