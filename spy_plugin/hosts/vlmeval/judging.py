"""The judge that the host's options select.

| `--judge`                                  | judge                                              |
|--------------------------------------------|----------------------------------------------------|
| not given, or `exact_matching`             | `rules` for the embedded benchmarks; GPT-4o, as in |
|                                            | the paper, for the official one                    |
| `rules`, `minilm`, `openai:NAME`, `vllm:NAME` | ours, with `--judge-base-url`,           |
|                                            | `--judge-key` and `--judge-args`                   |
| anything else                              | the judge that the host builds for that name       |

`exact_matching` is the right setting for MMMU and MME; the host passes it to every data set.
Our cache of verdicts is in front of all of these judges.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.errors import JudgeSetupError
from spy_plugin.hosts.judge_args import as_model_options
from spy_plugin.judging import HostModel, Judge, ModelJudge, build_judge, with_cache
from spy_plugin.judging.build import EXACT_MATCHING, MODEL_PREFIXES, OFFLINE, default_judge
from spy_plugin.models.options import ModelOptions
from spy_plugin.registry.catalog import hosts

_CHAT_PATH = "/chat/completions"

_PROVIDER_NAMES = ("gpt-", "chatgpt-", "o1", "o3", "o4")
"""Beginnings of names of models that OpenAI serves."""

_ADDRESS_VARIABLES = ("OPENAI_API_BASE", "LOCAL_LLM", "BOYUE")
"""With one of these the host asks another server, which knows names and keys of its own."""

# Options of the host that are not passed to the judge model.
_GENERAL = ("model", "nproc", "verbose", "retry", "timeout", "api_base", "key", "use_verifier")


def is_own_judge(name: str | None) -> bool:
    """Whether `--judge NAME` means one of our judges, rather than one that the host builds."""
    return name in (None, "", EXACT_MATCHING, *OFFLINE) or str(name).startswith(MODEL_PREFIXES)


def check_host_judge(name: str, options: Mapping[str, Any]) -> None:
    """Check the name and the key of a judge that the host builds, without importing the host.

    Args:
        options: The host's `judge_kwargs`, as far as they are known.

    Raises:
        JudgeSetupError: no judge has that name, or its key is not set.
    """
    if options.get("api_base") or any(map(os.environ.get, _ADDRESS_VARIABLES)):
        return
    known = hosts()["vlmeval"].judges
    if name not in known and not name.startswith(_PROVIDER_NAMES):
        close = difflib.get_close_matches(name, [*OFFLINE, EXACT_MATCHING, *known], n=3)
        hint = f"Did you mean {', '.join(close)}? " if close else ""
        raise JudgeSetupError(
            f"unknown judge {name!r}. {hint}Use {', '.join(OFFLINE)}, openai:MODEL, vllm:MODEL, a "
            "judge of VLMEvalKit, or any model of a server with --judge-base-url URL."
        )
    variable = known.get(name, "OPENAI_API_KEY")
    if variable and not (options.get("key") or os.environ.get(variable) or _key_file().is_file()):
        raise JudgeSetupError(
            f"there is no key for the judge {name}. Set {variable}, give --judge-base-url URL for "
            "a server of your own, or use --judge rules for a quick look."
        )


def _key_file() -> Path:
    """Return the file of keys that the host reads: `.env` beside its package."""
    package = find_spec("vlmeval")
    return Path(str(package.origin)).resolve().parents[1] / ".env" if package else Path(".env")


def judge_from_options(benchmark: str, protocol: Protocol, options: Mapping[str, Any]) -> Judge:
    """Return the judge that the host's `judge_kwargs` select.

    Raises:
        JudgeSetupError: it cannot be built with these options and the keys in the environment.
    """
    name = options.get("model")
    if not is_own_judge(name):
        return _host_judge(str(name), protocol, options)
    if name in (None, "", EXACT_MATCHING):
        name = default_judge(benchmark)
    own = {k: v for k, v in options.items() if k not in _GENERAL}
    chosen = ModelOptions(
        base_url=_base_url(options.get("api_base")),
        api_key=options.get("key"),
        concurrency=options.get("nproc") or 16,
        retries=options.get("retry") or 6,
        timeout=options.get("timeout") or 600,
        **as_model_options(name, own),
    )
    return build_judge(name, protocol, chosen)


def _base_url(chat_url: str | None) -> str | None:
    """Remove the chat path that the host appends; the OpenAI library appends it itself."""
    return chat_url.removesuffix(_CHAT_PATH) if chat_url else None


def _host_judge(name: str, protocol: Protocol, options: Mapping[str, Any]) -> Judge:
    from vlmeval.dataset.utils import build_judge as host_build_judge

    check_host_judge(name, options)
    own = {k: v for k, v in options.items() if k not in ("nproc", "use_verifier", "use_vllm")}
    try:
        model = host_build_judge(**own)
    except Exception as error:
        raise JudgeSetupError(
            f"VLMEvalKit could not build its judge {name!r} ({type(error).__name__}). Set the key "
            "that it needs, or use --judge rules for a quick look."
        ) from error
    secrets = [options["key"]] if options.get("key") else []
    wrapped = HostModel(model, name=name, concurrency=options.get("nproc") or 4, secrets=secrets)
    return with_cache(ModelJudge(wrapped, protocol))
