"""Names that people use, turned into VLMEvalKit's before it parses its command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence

from spy_plugin.errors import SpyBenchError
from spy_plugin.registry.catalog import hosts, resolve_model

CHECKPOINT_PREFIX = "hf:"


def dataset(name: str) -> str:
    """The host's name of a data set, for example MMMU_DEV_VAL for MMMU."""
    return hosts()["vlmeval"].dataset_aliases.get(name, name)


def model(name: str) -> str:
    """The host's name of a model.

    A name of the registry becomes the host's key; `hf:CHECKPOINT` becomes a name that can stand in
    a file name; anything else is the host's business.

    Raises:
        SpyBenchError: nothing follows `hf:`.
    """
    if name.startswith(CHECKPOINT_PREFIX):
        safe = re.sub(r"[^\w.+-]+", "--", name.removeprefix(CHECKPOINT_PREFIX)).strip("-.")
        if not safe:
            raise SpyBenchError("hf: needs a folder or a hub id, as in hf:outputs/my-model.")
        return safe
    known = resolve_model(name)
    if known is None:
        return name
    return known.vlmeval.key or known.name


def rewrite(words: Sequence[str], options: Mapping[str, Callable[[str], str]]) -> list[str]:
    """Apply a function to every value of some options, also in the form ``--option=value``."""
    out: list[str] = []
    current: Callable[[str], str] | None = None
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            current = options.get(name)
            if current and equals:
                word = f"{name}={current(value)}"
        elif current:
            word = current(word)
        out.append(word)
    return out


def register_models(asked: Sequence[str], *, allow_unknown: bool) -> None:
    """Make the host know the checkpoints that were asked for, and check the other names.

    Args:
        asked: Names as the user gave them.
        allow_unknown: Names need not be the host's: they go to a server or stand in a config.

    Raises:
        SpyBenchError: the host does not know a model; the closest names are given.
    """
    from vlmeval.config import supported_VLM

    from spy_plugin.hosts.vlmeval.registration import register_checkpoint

    for name in asked:
        if name.startswith(CHECKPOINT_PREFIX):
            register_checkpoint(model(name), name.removeprefix(CHECKPOINT_PREFIX))
        elif model(name) not in supported_VLM and not allow_unknown:
            close = difflib.get_close_matches(name, list(supported_VLM), n=3)
            hint = f"Did you mean {', '.join(close)}?" if close else "See: spy-bench models."
            raise SpyBenchError(
                f"VLMEvalKit has no model called {name!r}. {hint} A checkpoint runs as "
                "hf:FOLDER_OR_HUB_ID, a served model with --base-url URL."
            )
