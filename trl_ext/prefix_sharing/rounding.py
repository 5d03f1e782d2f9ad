"""Stochastic rounding that is the same on every process and after a resume.

An optimizer that rounds bfloat16 weights at random keeps small updates on average. Replicas stay
equal only if all processes draw the same numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback


def rounds_stochastically(args: Any) -> bool:
    """Whether the optimizer of these training arguments rounds stochastically."""
    return "stochastic" in str(args.optim_args or "")


class SameRounding(TrainerCallback):
    """Seeds the device's random numbers for each optimizer step, and puts them back after it."""

    def __init__(self) -> None:
        self._kept = torch.empty(0)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        device = torch.device(args.device)
        self._kept = _generator(device).get_state()
        # A multiplier keeps the numbers of neighbouring steps and seeds apart.
        _generator(device).manual_seed((args.seed * 1_000_003 + state.global_step) % 2**63)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        _generator(torch.device(args.device)).set_state(self._kept)


def _generator(device: torch.device) -> torch.Generator:
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[index]
    return torch.default_generator
