"""The transformers model inside wrappers: to look at, not to call."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the transformers model inside DDP, DeepSpeed and PEFT wrappers."""
    while isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    get_base_model = getattr(model, "get_base_model", None)
    base = get_base_model() if callable(get_base_model) else model
    return base if isinstance(base, nn.Module) else model


def floating_dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of a model's weights, quantised ones aside (float32 without others)."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
    return torch.float32


def text_config(model: nn.Module) -> Any:
    """Return the configuration that the text layers read."""
    config: Any = unwrapped(model).config
    return config.get_text_config()


def is_flash(implementation: str | None) -> bool:
    """Return whether an attention, by transformers' name of it, is a version of flash-attention."""
    return "flash" in (implementation or "")


def picture_tokens(model: nn.Module) -> list[int]:
    """Return the ids of the tokens that stand for pictures."""
    config = unwrapped(model).config
    names = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
    return [value for name in names if (value := getattr(config, name, None)) is not None]


def layer_kinds(model: nn.Module) -> set[str]:
    """Return the kinds of attention of the text layers, as transformers names them.

    Families of one kind may leave `layer_types` out; a window without them holds in every layer.
    """
    config = text_config(model)
    kinds = set(getattr(config, "layer_types", None) or ())
    windowed = bool(getattr(config, "sliding_window", None))
    return kinds or ({"sliding_attention"} if windowed else {"full_attention"})


def window(model: nn.Module) -> int | None:
    """Return the width of the text layers' sliding window, None where no layer has one."""
    if "sliding_attention" not in layer_kinds(model):
        return None
    width: int | None = text_config(model).sliding_window
    return width
