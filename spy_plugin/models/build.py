"""From a backend and a model's name to a model that is ready to be asked, for answers or verdicts.

Names are resolved in one way: a name of the registry becomes the weights or the provider's model
behind it, with its arguments; anything else is a folder, a repository id or the server's own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.models.base import Decoding, Model, ModelSetupError, Structured
from spy_plugin.models.openai_client import is_reasoning
from spy_plugin.models.packaged import PACKAGED, checkpoint_folder
from spy_plugin.models.servers import MODEL, Role, find_server
from spy_plugin.registry.catalog import canonical_name, resolve_model

if TYPE_CHECKING:
    from spy_plugin.registry.schema import ApiRun
    from spy_plugin.registry.schema import Model as Entry

POLICY = "policy"
CHAT_BACKENDS = ("openai", "vllm", "transformers")
"""Backends that continue any conversation; they can judge, too."""

BACKENDS = (*CHAT_BACKENDS, POLICY)

MAX_TOKENS = 512
"""The protocol's limit of new tokens; reasoning models have none."""


@dataclass(frozen=True)
class ModelOptions:
    """How a model is run or asked, whatever for; the command line has an option for each field.

    Attributes:
        base_url: Address of an OpenAI-compatible server; see `servers.find_server`.
        key_variable: Environment variable with this server's key.
        api_key: This server's key, where a caller has it.
        concurrency: Requests in flight.
        retries: Attempts after the first.
        timeout: Seconds an attempt may take.
        request_args: Further fields of each request.
        engine_args: Arguments of `vllm.LLM` or `from_pretrained`; they override the registry's.
        batch_size: Conversations continued together; None for the backend's default.
    """

    base_url: str | None = None
    key_variable: str = ""
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 16
    retries: int = 5
    timeout: float = 600.0
    request_args: Mapping[str, Any] = field(default_factory=dict)
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | None = None


_ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "base_url": ("openai",),
    "key_variable": ("openai",),
    "request_args": ("openai",),
    "engine_args": ("vllm", "transformers"),
    "batch_size": ("transformers",),
}


def model_name(model: str) -> str:
    """The name for tables and files: the registry's; else a folder's own name, or as given."""
    known = canonical_name(model)
    return Path(model).resolve().name if known == model and Path(model).is_dir() else known


def decoding_for(
    backend: str,
    model: str,
    *,
    temperature: float | None = None,
    max_tokens: int | None = None,
    seed: int | None = None,
    structured: Structured | None = None,
    default_limit: int = MAX_TOKENS,
) -> Decoding:
    """The protocol's decoding, for what is not given.

    Args:
        max_tokens: 0 for no limit.
        default_limit: Limit of new tokens for a model that does not reason.
    """
    thinks = _thinks(backend, model)
    if temperature is None:
        temperature = 1.0 if thinks else 0.0
    if max_tokens is None:
        max_tokens = 0 if thinks else default_limit
    return Decoding(temperature, max_tokens or None, seed, structured)


def build_model(
    backend: str,
    model: str,
    decoding: Decoding,
    options: ModelOptions | None = None,
    *,
    role: Role = MODEL,
    benchmark: Benchmark | None = None,
) -> Model:
    """Make a model ready, before anything is asked.

    Args:
        backend: One of `BACKENDS`.
        model: A name of the registry, a folder or repository id (vllm, transformers), the server's
            name for it (openai), or a reference policy.
        role: What it is asked for, which decides on keys and addresses.
        benchmark: What a reference policy answers.

    Raises:
        ModelSetupError: there is no key or address, the model is not one for this backend, or an
            option is another backend's.
        MissingDependencyError: the backend's package is not installed.
    """
    chosen = options or ModelOptions()
    _refuse_options_of_others(backend, chosen, role)
    if backend == "openai":
        return _openai(model, decoding, chosen, role)
    if backend == "vllm":
        return _vllm(model, decoding, chosen, role)
    if backend == "transformers":
        return _transformers(model, decoding, chosen, role)
    from spy_plugin.models.policy_model import PolicyModel

    if benchmark is None:
        raise ModelSetupError("a reference policy needs the benchmark that it answers. Name it.")
    return PolicyModel(model, benchmark, decoding)


def _refuse_options_of_others(backend: str, options: ModelOptions, role: Role) -> None:
    given = [name for name in _ONLY_FOR if getattr(options, name)]
    wrong = [name for name in given if backend not in _ONLY_FOR[name]]
    if wrong:
        words = " and ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ModelSetupError(
            f"{words} would have no effect with {role.backend_option.format(backend)}. Leave out "
            f"what is not for it, or use {role.backend_option.format(_ONLY_FOR[wrong[0]][0])}."
        )


def _openai(model: str, decoding: Decoding, options: ModelOptions, role: Role) -> Model:
    from spy_plugin.models.openai_model import OpenAIModel

    api = _api(model)
    server = find_server(
        model,
        options.base_url,
        role=role,
        api=api,
        api_key=options.api_key,
        key_variable=options.key_variable,
    )
    return OpenAIModel(
        api.model if api else model,
        decoding,
        server,
        reasoning=_thinks("openai", model),
        concurrency=options.concurrency,
        retries=options.retries,
        timeout=options.timeout,
        request=options.request_args,
    )


def _vllm(model: str, decoding: Decoding, options: ModelOptions, role: Role) -> Model:
    from spy_plugin.models.vllm_model import VLLMModel

    path, engine = model, dict(options.engine_args)
    more: dict[str, Any] = {} if role is MODEL else {"pictures": 0}
    if model in PACKAGED:
        path = str(checkpoint_folder(model))
    elif (entry := _entry_with_weights(model, role)) is not None and entry.vllm is not None:
        path, engine = entry.hub_id, entry.vllm.engine_arguments | engine
        more |= {"stop_token_ids": entry.vllm.stop_token_ids, "lora": entry.vllm.lora}
    return VLLMModel(path, decoding, engine_args=engine, **more)


def _transformers(model: str, decoding: Decoding, options: ModelOptions, role: Role) -> Model:
    from spy_plugin.models.transformers_model import TransformersModel

    entry = None if model in PACKAGED else _entry_with_weights(model, role)
    return TransformersModel(
        entry.hub_id if entry else model,
        decoding,
        arguments=options.engine_args,
        batch_size=options.batch_size,
    )


def _entry_with_weights(model: str, role: Role) -> Entry | None:
    """The registry's entry of a model that is not a path.

    Raises:
        ModelSetupError: the model has no weights to load.
    """
    entry = None if Path(model).exists() else resolve_model(model)
    if entry is not None and not entry.hub_id:
        raise ModelSetupError(
            f"{entry.display_name} has no weights to load; its provider serves it. "
            f"Use {role.backend_option.format('openai')}."
        )
    return entry


def _api(model: str) -> ApiRun | None:
    entry = resolve_model(model)
    return entry.api if entry else None


def _thinks(backend: str, model: str) -> bool:
    """A reasoning model behind an API, by the registry or by its name."""
    if backend != "openai":
        return False
    api = _api(model)
    return api.reasoning if api else is_reasoning(model)
