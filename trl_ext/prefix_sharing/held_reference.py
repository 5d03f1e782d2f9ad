"""Chooses what TRL holds as the reference model where it is run once, before training."""

from __future__ import annotations

import copy
import os
from typing import Any

from accelerate.utils import is_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


def model_name(model: Any) -> str:
    """Return the name or folder that a model was loaded from; empty if it was built in memory."""
    name: str = model if isinstance(model, str) else model.config._name_or_path
    return name


def held_as_reference(model: Any, args: Any, peft_config: Any) -> Any:
    """Return what TRL holds as the reference where it is computed before training; None: its own.

    Where weights are whole, the policy is the reference until it is trained (`TinyModel` keeps TRL
    from loading another). Otherwise it is a copy of a model that TRL could not load.
    """
    adapters = peft_config is not None or (isinstance(model, nn.Module) and is_peft_model(model))
    if not args.precompute_ref_log_probs or adapters:
        return None
    fsdp = bool(args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if args.deepspeed_plugin is None and not fsdp:
        return TinyModel()
    return None if model_name(model) else copy.deepcopy(model)


class TinyModel(LlamaForCausalLM):
    """A model of some hundred weights, for TRL to hold instead of loading a reference."""

    def __init__(self) -> None:
        config = LlamaConfig(
            vocab_size=8,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
        )
        super().__init__(config)
