"""From a judge's name to a judge that is ready to be asked, or an error that says what is missing.

Names: ``rules``, ``minilm``, ``openai:MODEL`` (or the bare model), ``vllm:MODEL``. Without a name
the paper's kind of judge is meant: what ``JUDGE_MODEL`` says, else GPT-4o.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.errors import JudgeSetupError
from spy_plugin.files.home import home
from spy_plugin.judging.base import Judge
from spy_plugin.judging.server import find_server

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "gpt-4o-2024-11-20"

DEFAULT_CACHE = "default"
"""As `cache`: `judge-cache.sqlite` in this package's folder."""

EXACT_MATCHING = "exact_matching"
"""What VLMEvalKit users pass for the general benchmarks in the same run: the default, for us."""

_OFFLINE = ("rules", "minilm")
_OPENAI_OPTIONS = ("structured", "extra")


def default_cache() -> Path:
    """The cache of judgements that every run shares."""
    return home() / "judge-cache.sqlite"


def with_cache(judge: Judge, cache: Path | str | None = DEFAULT_CACHE) -> Judge:
    """The judge behind a cache of judgements; `None` for no cache."""
    if cache is None:
        return judge
    from spy_plugin.judging.cache import CachedJudge

    return CachedJudge(judge, default_cache() if cache == DEFAULT_CACHE else Path(cache))


def build_judge(
    name: str | None,
    protocol: Protocol,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    concurrency: int = 16,
    retries: int = 5,
    timeout: float = 60.0,
    options: Mapping[str, Any] | None = None,
    cache: Path | str | None = DEFAULT_CACHE,
) -> Judge:
    """Make a judge ready, before anything is asked.

    Args:
        name: See the module; None or ``exact_matching`` for the default.
        base_url, api_key: Of an OpenAI-compatible server; else from the environment, see
            `find_server`.
        concurrency, retries, timeout: Requests in flight; attempts after the first; seconds an
            attempt.
        options: For ``openai``: ``structured`` (``choice`` or ``json``) and ``extra`` (fields of
            the request). For ``vllm``: arguments of its engine.
        cache: The file of earlier judgements, or None for none. Offline judges have none.

    Raises:
        JudgeSetupError: an unknown name or option, or no key.
        MissingDependencyError: the judge's package is not installed.
    """
    if not name or name == EXACT_MATCHING:
        name = os.environ.get("JUDGE_MODEL") or DEFAULT_MODEL
    near = difflib.get_close_matches(name, _OFFLINE, n=1, cutoff=0.75)
    if near and name not in _OFFLINE:
        raise JudgeSetupError(
            f"no judge is called {name!r}. Did you mean {near[0]}? "
            "A model of that name is openai:NAME."
        )
    options = dict(options or {})
    kind, colon, model = name.partition(":")
    if name in _OFFLINE:
        if options:
            logger.warning("judge %s takes no options; %s unused", name, ", ".join(options))
        return _offline(name)
    if kind == "vllm" and colon:
        from spy_plugin.judging.vllm_judge import VLLMJudge

        return with_cache(VLLMJudge(_checked(model), protocol, options=options), cache)

    from spy_plugin.judging.openai_judge import OpenAIJudge, Settings

    # Anything else is a model's name, and a model's name may hold a colon too.
    model = _checked(model if kind == "openai" and colon else name)
    url, key = find_server(base_url, api_key, model)
    settings = Settings(concurrency, retries, timeout, **_openai_options(options))
    judge = OpenAIJudge(model, protocol, api_key=key, base_url=url, settings=settings)
    return with_cache(judge, cache)


def _checked(model: str) -> str:
    if not model or any(character.isspace() for character in model):
        raise JudgeSetupError(
            f"{model!r} names no judge model. Use rules, minilm, openai:MODEL or vllm:MODEL."
        )
    return model


def _offline(name: str) -> Judge:
    if name == "rules":
        from spy_plugin.judging.rules import RulesJudge

        return RulesJudge()
    from spy_plugin.judging.minilm import MiniLMJudge

    return MiniLMJudge()


def _openai_options(options: Mapping[str, Any]) -> dict[str, Any]:
    from spy_plugin.judging.openai_judge import STRUCTURED

    unknown = [option for option in options if option not in _OPENAI_OPTIONS]
    if unknown:
        raise JudgeSetupError(
            f"unknown judge option {', '.join(unknown)}. Use {' or '.join(_OPENAI_OPTIONS)}."
        )
    structured = options.get("structured")
    if structured is not None and structured not in STRUCTURED:
        raise JudgeSetupError(
            f"structured is {structured!r}. Use {' or '.join(STRUCTURED)}, or leave it out."
        )
    return {"structured": structured, "extra": options.get("extra") or {}}
