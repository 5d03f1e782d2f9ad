"""The decoding settings of the models that VLMEvalKit built, for the records of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spy_plugin.hosts.hooks import stepping_aside

Settings = dict[str, bool | int | float]

_NAMES = (
    *("temperature", "top_p", "top_k", "do_sample", "num_beams", "repetition_penalty", "seed"),
    *("max_tokens", "max_new_tokens", "max_completion_tokens"),
)
_HOLDERS = ("checkpoint", "kwargs", "generate_kwargs", "generation_config", "default_kwargs")
"""Attributes in which the host's classes keep settings; a later one takes precedence."""

LIMIT = "spy_bench_max_tokens"
"""Attribute of a model: the limit that our data sets asked for, whatever its own is."""

used: dict[str, Settings] = {}
"""Model, by its name in the host -> settings of the model that answered in this process."""


def note(model_name: str, model: Any) -> None:
    """Keep the settings of a model that answered; a name that was never built changes nothing."""
    with stepping_aside("record a model's decoding settings"):
        settings = settings_of(model)
        if settings:
            used[model_name] = settings


def settings_of(model: Any) -> Settings:
    """Return the settings that a model object holds; none for a name that was never built."""
    found: Settings = {}
    for holder in (model, *(getattr(model, name, None) for name in _HOLDERS)):
        for name in _NAMES:
            mapping = isinstance(holder, Mapping)
            value = holder.get(name) if mapping else getattr(holder, name, None)
            if isinstance(value, bool | int | float):
                found[name] = value
    if hasattr(model, LIMIT):
        found["max_tokens"] = getattr(model, LIMIT)
    return found
