"""From a backend and a model's name to a model that is ready to be asked, for answers or verdicts.

Names are resolved in one way: a name of the registry becomes the weights or the provider's model
behind it, with its arguments; anything else is a folder, a repository id or the server's own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.models.base import (
    FORMS,
    LOCAL_BACKENDS,
    Decoding,
    Model,
    ModelSetupError,
    Structured,
)
from spy_plugin.models.options import MODEL, ModelOptions, Role
from spy_plugin.models.packaged import PACKAGED, checkpoint_folder
from spy_plugin.models.reasoning import CHOICES, is_reasoning
from spy_plugin.models.repositories import needs_trust, split_revision
from spy_plugin.models.servers import find_server
from spy_plugin.registry.catalog import canonical_name, resolve_model

if TYPE_CHECKING:
    from spy_plugin.registry.schema import ApiRun

POLICY = "policy"
CHAT_BACKENDS = ("openai", *LOCAL_BACKENDS)
"""Backends that continue any conversation; they can judge, too."""

BACKENDS = (*CHAT_BACKENDS, POLICY)


_ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "base_url": ("openai",),
    "key_variable": ("openai",),
    "request_args": ("openai",),
    "engine_args": LOCAL_BACKENDS,
    "batch_size": ("transformers",),
    "trust_remote_code": LOCAL_BACKENDS,
    "ray": LOCAL_BACKENDS,
    "engines": LOCAL_BACKENDS,
}


def model_name(model: str) -> str:
    """The name for tables and files: the registry's; else a folder's own name, or as given.

    It does not show a revision, which the run's metadata do.
    """
    model = split_revision(model)[0]
    known = canonical_name(model)
    return Path(model).resolve().name if known == model and Path(model).is_dir() else known


def build_model(
    backend: str,
    model: str,
    options: ModelOptions | None = None,
    *,
    role: Role = MODEL,
    benchmark: Benchmark | None = None,
) -> Model:
    """Make a model ready, before anything is asked.

    Args:
        backend: One of `BACKENDS`.
        model: A name of the registry, a folder or repository id (vllm, transformers), each but a
            folder perhaps with ``@`` and a revision; the server's name for it (openai), or a
            reference policy.
        role: What it is asked for.
        benchmark: What a reference policy answers.

    Raises:
        ModelSetupError: there is no key or address, the model is not one for this backend, or an
            option is another backend's.
        MissingDependencyError: the backend's package is not installed.
    """
    chosen = options or ModelOptions()
    chosen = replace(chosen, timeout=chosen.timeout or role.timeout)
    _refuse_options_of_others(backend, chosen, role)
    decoding = _decoding(backend, model, chosen, role)
    if backend == "openai":
        return _openai(model, decoding, chosen, role)
    if backend in LOCAL_BACKENDS:
        return _local(backend, model, decoding, chosen, role)
    from spy_plugin.models.policy_model import PolicyModel

    if benchmark is None:
        raise ModelSetupError("a reference policy needs the benchmark that it answers. Name it.")
    return PolicyModel(model, benchmark, decoding)


def _decoding(backend: str, model: str, options: ModelOptions, role: Role) -> Decoding:
    """The protocol's decoding, for what is not given."""
    thinks = _thinks(backend, model, options)
    temperature, limit = options.temperature, options.max_tokens
    if temperature is None:
        temperature = 1.0 if thinks else 0.0
    if thinks and (options.reasoning_max_tokens is not None or limit is None):
        limit = options.reasoning_max_tokens
        limit = role.reasoning_max_tokens if limit is None else limit
    elif limit is None:
        limit = role.max_tokens
    structured = None
    if options.structured is not None:
        if options.structured not in FORMS or not role.words:
            forms = " or ".join(FORMS) if role.words else "it for judges only"
            raise ModelSetupError(
                f"structured is {options.structured!r}. Use {forms}, or leave it out."
            )
        structured = Structured(role.words, options.structured)
    return Decoding(temperature, limit or None, options.seed, structured)


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
    server = find_server(model, options, role, api)
    name, thinks = api.model if api else model, _thinks("openai", model, options)
    return OpenAIModel(name, decoding, server, options, reasoning=thinks)


def _local(
    backend: str, model: str, decoding: Decoding, options: ModelOptions, role: Role
) -> Model:
    from spy_plugin.models.transformers_model import TransformersModel
    from spy_plugin.models.vllm_model import VLLMModel

    bare, revision = split_revision(model)
    entry = None if Path(bare).exists() or bare in PACKAGED else resolve_model(bare)
    path = entry.hub_id if entry else bare
    if not path:
        raise ModelSetupError(
            f"{model} has no weights to load; its provider serves it. "
            f"Use {role.backend_option.format('openai')}."
        )
    if entry is not None and entry.vllm is not None and entry.vllm.remote_code:
        _need_trust(path, options)
    path += f"@{revision}" if revision else ""
    if backend == "transformers":
        return _on_ray(TransformersModel(path, decoding, options), options, options.engine_args)
    if bare in PACKAGED:
        path = str(checkpoint_folder(bare))
    more: dict[str, Any] = {} if role is MODEL else {"pictures": 0}
    engine = dict(options.engine_args)
    if options.trust_remote_code:
        engine["trust_remote_code"] = True
    if entry is not None and entry.vllm is not None:
        engine = entry.vllm.engine_arguments | engine
        more |= {"stop_token_ids": entry.vllm.stop_token_ids, "lora": entry.vllm.lora}
    return _on_ray(VLLMModel(path, decoding, engine_args=engine, **more), options, engine)


def _on_ray(model: Model, options: ModelOptions, arguments: Mapping[str, Any]) -> Model:
    """The model itself, or many engines of it where the options say so.

    Raises:
        ModelSetupError: the options contradict each other.
    """
    if options.ray is None:
        if options.engines is not None:
            raise ModelSetupError("--engines is for engines on Ray. Add --ray, or leave it out.")
        return model
    from spy_plugin.models.on_ray.model import RayModel

    return RayModel(model, options.ray, options.engines, arguments)


def _need_trust(repository: str, options: ModelOptions) -> None:
    """Refuse to load a model that runs code of its repository, unless the user allows it.

    Raises:
        ModelSetupError: the user did not.
    """
    if not options.trust_remote_code and not options.engine_args.get("trust_remote_code"):
        raise ModelSetupError(needs_trust(repository))


def _api(model: str) -> ApiRun | None:
    entry = resolve_model(model)
    return entry.api if entry else None


def _thinks(backend: str, model: str, options: ModelOptions) -> bool:
    """Whether a model thinks before it answers: by the option, the registry, or its name.

    transformers decodes greedily and with a limit here, so there the name does not tell.

    Raises:
        ModelSetupError: the option is none of `CHOICES`.
    """
    if options.reasoning not in CHOICES:
        raise ModelSetupError(f"reasoning is {options.reasoning!r}. Use {', '.join(CHOICES)}.")
    if options.reasoning != "auto":
        return options.reasoning == "yes"
    api = _api(model)
    if api is not None:
        return api.reasoning
    return backend in ("openai", "vllm") and is_reasoning(split_revision(model)[0])
