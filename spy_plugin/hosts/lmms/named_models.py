"""The registry's models by name in lmms-eval: `--model Qwen2-VL-7B`, with no `--model_args`.

Each name is a class of its own, created when it is asked for: the host's wrapper of that model with
the registry's arguments. Values in `--model_args` take precedence over them.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Collection
from typing import Any

from spy_plugin.errors import SpyBenchError
from spy_plugin.models.repositories import needs_trust
from spy_plugin.registry.catalog import models
from spy_plugin.registry.schema import Model

_TRUST = "trust_remote_code"
_SIMPLE = "_simple"
_CHAT = "_chat"


def named_manifests() -> list[Any]:
    """Return a `ModelManifest` for each model of the registry that the host has a wrapper for.

    Call this while `lmms_eval.models` is being imported, after its own tables exist.
    """
    from lmms_eval.models.registry_v2 import ModelManifest

    host = sys.modules["lmms_eval.models"]
    simple, chat = host.AVAILABLE_SIMPLE_MODELS, host.AVAILABLE_CHAT_TEMPLATE_MODELS
    manifests = []
    for model in models():
        path, wrapper = f"{__name__}.{_identifier(model)}", model.lmms.model
        taken = {name for name in model.names if name in simple or name in chat}
        if taken or not (wrapper in simple or wrapper in chat):
            continue
        manifests.append(
            ModelManifest(
                model.name,
                simple_class_path=path + _SIMPLE if wrapper in simple else None,
                chat_class_path=path + _CHAT if wrapper in chat else None,
                aliases=model.aliases,
            )
        )
    return manifests


def _identifier(model: Model) -> str:
    """Return the model's name as a Python identifier; a test checks that no two are the same."""
    return re.sub(r"\W", "_", model.name)


def __getattr__(name: str) -> type:
    """Return the class that a manifest names."""
    kind = next((kind for kind in (_SIMPLE, _CHAT) if name.endswith(kind)), "")
    model = next((m for m in models() if kind and _identifier(m) + kind == name), None)
    if model is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    host = importlib.import_module("lmms_eval.models")
    manifest = host.MODEL_REGISTRY_V2.get_manifest(model.lmms.model)
    path = manifest.chat_class_path if kind == _CHAT else manifest.simple_class_path
    module, _, attribute = path.rpartition(".")
    base = getattr(importlib.import_module(module), attribute)
    return with_defaults(base, model.lmms.arguments, needs_code_of=_code(model))


def _code(model: Model) -> str:
    """Return the repository whose code vLLM would run for a model; empty for none."""
    return model.hub_id if model.vllm is not None and model.vllm.remote_code else ""


def with_defaults(base: type, defaults: dict[str, Any], *, needs_code_of: str = "") -> type:
    """Return a subclass of the host's wrapper with `defaults` for its arguments.

    A wrapper with an argument `trust_remote_code`, which the host sets, runs code of a repository
    only if the user sets it.

    Args:
        needs_code_of: The repository, for a model that cannot be loaded without it.
    """
    asks = _TRUST in inspect.signature(base).parameters
    if asks:
        defaults = {_TRUST: False} | defaults

    def create_from_arg_string(
        cls: Any, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> Any:
        from lmms_eval.utils import simple_parse_args_string

        given = simple_parse_args_string(arg_string or "")
        if asks and needs_code_of and not given.get(_TRUST):
            raise SpyBenchError(needs_trust(needs_code_of, f"{_TRUST}=True to --model_args"))
        extra = {
            name: value for name, value in (additional_config or {}).items() if value is not None
        }
        return cls(**(defaults | given), **extra)

    return type(
        base.__name__,
        (base,),
        {
            "__module__": base.__module__,
            "__doc__": base.__doc__,
            "create_from_arg_string": classmethod(create_from_arg_string),
        },
    )


def refuse_arguments(unknown: Collection[str], *known: str) -> None:
    """Refuse names in `--model_args` that a model of ours does not have.

    Args:
        unknown: The names.
        known: Those that it has.

    Raises:
        SpyBenchError: there are unknown names.
    """
    if unknown:
        raise SpyBenchError(
            f"--model_args: this model has no {', '.join(unknown)}. It takes {', '.join(known)}."
        )
