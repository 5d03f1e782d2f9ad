"""From a model's name to a backend that is ready to be asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.models.addresses import NO_KEY, AddressError, check_key, host_of, is_local
from spy_plugin.models.base import Backend, Decoding, ModelSetupError
from spy_plugin.models.openai_client import is_reasoning
from spy_plugin.registry.catalog import canonical_name, resolve_model

if TYPE_CHECKING:
    from spy_plugin.registry.schema import ApiRun, Model

BACKENDS = ("vllm", "openai")
MAX_TOKENS = 512
"""The protocol's limit of new tokens; reasoning models have none."""

_KEY_VARIABLE = "OPENAI_API_KEY"


@dataclass(frozen=True)
class BackendOptions:
    """How the model is run or asked.

    Attributes:
        base_url: Of an OpenAI-compatible server; None for what the registry or OPENAI_BASE_URL
            says, else OpenAI's own.
        concurrency, retries, timeout: Requests in flight; attempts after the first; seconds an
            attempt.
        request: Further fields of each request.
        engine_args: Arguments of `vllm.LLM`, before the registry's.
    """

    base_url: str | None = None
    concurrency: int = 16
    retries: int = 5
    timeout: float = 600.0
    request: Mapping[str, Any] = field(default_factory=dict)
    engine_args: Mapping[str, Any] = field(default_factory=dict)


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
) -> Decoding:
    """The protocol's decoding, for what is not given.

    Args:
        max_tokens: 0 for no limit.
    """
    thinks = _thinks(backend, model)
    if temperature is None:
        temperature = 1.0 if thinks else 0.0
    if max_tokens is None:
        max_tokens = 0 if thinks else MAX_TOKENS
    return Decoding(temperature, max_tokens or None, seed)


def build_backend(
    name: str, model: str, decoding: Decoding, options: BackendOptions | None = None
) -> Backend:
    """Make a backend ready, before anything is asked.

    Args:
        name: ``vllm`` or ``openai``.
        model: A name of the registry, a path or repository id (vLLM), or the server's name of it.

    Raises:
        ModelSetupError: there is no key or address, the model is not one for this backend, or an
            option is the other backend's.
        MissingDependencyError: vLLM is not installed.
    """
    chosen = options or BackendOptions()
    _refuse_options_of_the_other(name, chosen)
    if name == "vllm":
        return _vllm(model, decoding, chosen)
    from spy_plugin.models.openai_backend import OpenAIBackend

    api = _api(model)
    url, key = find_server(chosen.base_url, api)
    return OpenAIBackend(
        api.model if api else model,
        decoding,
        api_key=key,
        base_url=url,
        reasoning=_thinks(name, model),
        concurrency=chosen.concurrency,
        retries=chosen.retries,
        timeout=chosen.timeout,
        request=chosen.request,
    )


def _refuse_options_of_the_other(name: str, options: BackendOptions) -> None:
    others = (
        {"--base-url": options.base_url, "--request-args": options.request}
        if name == "vllm"
        else {"--engine-args": options.engine_args}
    )
    given = [option for option, value in others.items() if value]
    if given:
        other = next(backend for backend in BACKENDS if backend != name)
        raise ModelSetupError(
            f"{' and '.join(given)} would have no effect with --backend {name}. Leave out what is "
            f"not for it, or use --backend {other}."
        )


def find_server(base_url: str | None, api: ApiRun | None = None) -> tuple[str | None, str]:
    """Address (None for OpenAI's own) and key; a server on this machine or network needs no key.

    Args:
        api: What the registry says of the model's provider.

    Raises:
        ModelSetupError: there is no key, or key or address cannot be right.
    """
    variable = _KEY_VARIABLE
    if base_url is None and api is not None and api.base_url:
        base_url, variable = api.base_url, api.key_variable
    url = base_url or os.environ.get("OPENAI_BASE_URL") or None
    key = os.environ.get(variable) or None
    try:
        host = host_of(url, "the model's", variable) if url else None
        if key is None and host is not None and is_local(host):
            key = NO_KEY
        if key is None:
            raise ModelSetupError(
                f"there is no key for the model. Set {variable}, or name a server of your own "
                "with --base-url (one on this machine or network needs no key)."
            )
        return url, check_key(key, "the model's")
    except AddressError as error:
        raise ModelSetupError(str(error)) from None


def _vllm(model: str, decoding: Decoding, options: BackendOptions) -> Backend:
    from spy_plugin.models.checkpoint import OWN_MODELS, own_folder
    from spy_plugin.models.vllm_backend import VLLMBackend

    known = resolve_model(model)
    path, engine = model, dict(options.engine_args)
    more: dict[str, Any] = {}
    if model in OWN_MODELS:
        path = str(own_folder(model))
    elif known is not None and not Path(model).exists():
        if known.vllm is None:
            raise ModelSetupError(
                f"{known.display_name} is served by its provider, not by vLLM. "
                "Use --backend openai."
            )
        path, engine = known.hub_id, known.vllm.engine_arguments | engine
        more = {"stop_token_ids": known.vllm.stop_token_ids, "lora": known.vllm.lora}
    return VLLMBackend(path, decoding, engine_args=engine, **more)


def _api(model: str) -> ApiRun | None:
    known: Model | None = resolve_model(model)
    return known.api if known else None


def _thinks(backend: str, model: str) -> bool:
    """A reasoning model behind an API, by the registry or by its name."""
    if backend != "openai":
        return False
    api = _api(model)
    return api.reasoning if api else is_reasoning(model)
