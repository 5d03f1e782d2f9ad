"""From a judge's name to a judge that is ready to be asked, or an error that says what is missing.

Names: ``rules``, ``minilm``, ``openai:MODEL`` (or the bare model), ``vllm:MODEL``,
``transformers:MODEL``; a model's name means what it means to `spy_plugin.models.build`. Without a
name the paper's kind of judge is meant: what ``JUDGE_MODEL`` says, else GPT-4o. The embedded
benchmarks have a default of their own; see `default_judge`.
"""

from __future__ import annotations

import difflib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmarks import DRAWN
from spy_plugin.errors import JudgeSetupError
from spy_plugin.files.home import home
from spy_plugin.judging.base import Judge

if TYPE_CHECKING:
    from spy_plugin.models.options import ModelOptions

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "gpt-4o-2024-11-20"

DEFAULT_CACHE = "default"
"""As `cache`: `judge-cache.sqlite` in this package's folder."""

EXACT_MATCHING = "exact_matching"
"""What VLMEvalKit users pass for the general benchmarks in the same run: our default judge."""

OFFLINE = ("rules", "minilm")
MODEL_PREFIXES = ("openai:", "vllm:", "transformers:")


def default_judge(benchmark: str) -> str | None:
    """Return the judge of a benchmark if none is named, here and in the hosts.

    ``rules``, which needs no key, for the benchmarks that the package draws; None, which
    `build_judge` takes for ``JUDGE_MODEL`` or GPT-4o, for all others.
    """
    return "rules" if benchmark in DRAWN else None


def default_cache() -> Path:
    """The cache of judgements that every run shares."""
    return home() / "judge-cache.sqlite"


def with_cache(judge: Judge, cache: Path | str | None = DEFAULT_CACHE) -> Judge:
    """The judge behind a cache of judgements; `None` for no cache."""
    if cache is None:
        return judge
    from spy_plugin.judging.cached_judge import CachedJudge

    return CachedJudge(judge, default_cache() if cache == DEFAULT_CACHE else Path(cache))


def build_judge(
    name: str | None,
    protocol: Protocol,
    options: ModelOptions | None = None,
    *,
    cache: Path | str | None = DEFAULT_CACHE,
) -> Judge:
    """Make a judge ready, before anything is asked.

    Args:
        name: See the module; None or ``exact_matching`` for the default.
        options: How a judge that is a model is run or asked.
        cache: The file of earlier judgements, or None for none. Offline judges have none.

    Raises:
        JudgeSetupError: an unknown name or option, or no key.
        MissingDependencyError: the judge's package is not installed.
    """
    if not name or name == EXACT_MATCHING:
        name = os.environ.get("JUDGE_MODEL") or DEFAULT_MODEL
    near = difflib.get_close_matches(name.lower(), OFFLINE, n=1, cutoff=0.75)
    if near and name not in OFFLINE:
        raise JudgeSetupError(
            f"no judge is called {name!r}. Did you mean {near[0]}? "
            "A model of that name is openai:NAME."
        )
    if name in OFFLINE:
        if options and (options.structured or options.request_args or options.engine_args):
            logger.warning("judge %s takes no options; they are not used", name)
        return _offline(name)
    # Anything else is a model's name, and a model's name may hold a colon too.
    backend, model = name.split(":", 1) if name.startswith(MODEL_PREFIXES) else ("openai", name)
    if not model or any(character.isspace() for character in model):
        raise JudgeSetupError(
            f"{model!r} is not the name of a judge model. Use {', '.join(OFFLINE)}, or "
            f"{', '.join(f'{prefix}MODEL' for prefix in MODEL_PREFIXES)}."
        )
    return with_cache(_model_judge(backend, model, protocol, options), cache)


def _model_judge(
    backend: str, model: str, protocol: Protocol, options: ModelOptions | None
) -> Judge:
    from spy_plugin.judging.model_judge import ModelJudge
    from spy_plugin.models.base import ModelSetupError
    from spy_plugin.models.build import build_model
    from spy_plugin.models.options import JUDGE

    try:
        return ModelJudge(build_model(backend, model, options, role=JUDGE), protocol)
    except ModelSetupError as error:
        raise JudgeSetupError(str(error)) from None


def _offline(name: str) -> Judge:
    if name == "rules":
        from spy_plugin.judging.rules import RulesJudge

        return RulesJudge()
    from spy_plugin.judging.minilm import MiniLMJudge

    return MiniLMJudge()
