"""The judge that the host's options select.

| `--judge`                                  | judge                                              |
|--------------------------------------------|----------------------------------------------------|
| not given, or `exact_matching`             | `rules` for the embedded benchmarks; GPT-4o, as in |
|                                            | the paper, for the official one                    |
| `rules`, `minilm`, `openai:NAME`, `vllm:NAME` | ours, with `--judge-base-url` and `--judge-key` |
| anything else                              | the judge that the host builds for that name       |

`exact_matching` is the right setting for MMMU and MME; the host passes it to every data set.
Our cache of verdicts is in front of all of these judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmarks import EMBEDDED
from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging import HostModel, Judge, ModelJudge, build_judge, with_cache
from spy_plugin.judging.build import EXACT_MATCHING, MODEL_PREFIXES, OFFLINE
from spy_plugin.models.options import ModelOptions

_CHAT_PATH = "/chat/completions"

_WITH_ENGINE = ("vllm:", "transformers:")
"""Judges whose further options are engine arguments."""

# Options of the host that are not passed to the judge model.
_GENERAL = ("model", "nproc", "verbose", "retry", "timeout", "api_base", "key", "use_verifier")


def is_own_judge(name: str | None) -> bool:
    """Whether `--judge NAME` means one of our judges, rather than one that the host builds."""
    return name in (None, "", EXACT_MATCHING, *OFFLINE) or str(name).startswith(MODEL_PREFIXES)


def judge_from_options(benchmark: str, protocol: Protocol, options: Mapping[str, Any]) -> Judge:
    """Return the judge that the host's `judge_kwargs` select.

    Raises:
        JudgeSetupError: it cannot be built with these options and the keys in the environment.
    """
    name = options.get("model")
    if not is_own_judge(name):
        return _host_judge(str(name), protocol, options)
    if name in (None, "", EXACT_MATCHING):
        name = "rules" if benchmark in EMBEDDED else None
    own = {k: v for k, v in options.items() if k not in _GENERAL}
    structured, request = own.pop("structured", None), own.pop("extra", None)
    if own and name not in OFFLINE and not str(name).startswith(_WITH_ENGINE):
        raise JudgeSetupError(
            f"unknown judge option {', '.join(own)}. Use structured, or extra for further fields "
            "of the request."
        )
    chosen = ModelOptions(
        base_url=_base_url(options.get("api_base")),
        api_key=options.get("key"),
        concurrency=options.get("nproc") or 16,
        retries=options.get("retry") or 6,
        timeout=options.get("timeout") or 600,
        structured=structured,
        request_args=request or {},
        engine_args=own,
    )
    return build_judge(name, protocol, chosen)


def _base_url(chat_url: str | None) -> str | None:
    """Remove the chat path that the host appends; the OpenAI library appends it itself."""
    return chat_url.removesuffix(_CHAT_PATH) if chat_url else None


def _host_judge(name: str, protocol: Protocol, options: Mapping[str, Any]) -> Judge:
    from vlmeval.dataset.utils import build_judge as host_build_judge

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
