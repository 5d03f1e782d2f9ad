"""Changes a model's layers for speed and memory: compile them, keep their activations."""

from __future__ import annotations

from typing import Any

from torch import nn

from trl_ext.prefix_sharing.inner_model import unwrapped


def _layers(model: nn.Module) -> dict[str, Any]:
    """Return the repeated layers of text model and vision tower, by name."""
    from transformers.modeling_layers import GradientCheckpointingLayer  # marks them

    return {
        name: module
        for name, module in unwrapped(model).named_modules()
        if isinstance(module, GradientCheckpointingLayer)
    }


def compile_layers(model: nn.Module) -> None:
    """Compile each layer with `torch.compile`; layers alike share one compilation.

    Norms, rotary positions and gates become single kernels, and fewer activations are kept. What
    lies between the layers (the tower's entry, the head) stays as it is.
    """
    for layer in _layers(model).values():
        if layer._compiled_call_impl is None:
            layer.compile()


def keep_activations(model: nn.Module, number: int) -> None:
    """Exempt the last `number` text layers from gradient checkpointing; the others keep to it.

    The activations that exist at the start of the backward pass are those of the exempt layers,
    before most gradients do: up to as much memory as the gradients will need is free for them.
    """
    decoder: Any = unwrapped(model).get_decoder()  # type: ignore[operator]
    inside = {id(each) for each in decoder.modules()}
    text = [layer for layer in _layers(model).values() if id(layer) in inside]
    for layer in text[max(0, len(text) - number) :]:
        layer.gradient_checkpointing = False
