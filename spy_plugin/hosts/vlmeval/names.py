"""Translates names that people use into VLMEvalKit's before it parses its command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence

from spy_plugin.errors import SpyBenchError
from spy_plugin.registry.catalog import hosts, resolve_model, variants

VARIANTS = {variant.vlmeval: variant for variant in variants()}
"""Our data sets, by the host's name."""

CHECKPOINT_PREFIX = "hf:"


def dataset(name: str) -> str:
    """Return the host's name of a data set, for example MMMU_DEV_VAL for MMMU."""
    return hosts()["vlmeval"].dataset_aliases.get(name, name)


def closest_datasets(name: str) -> str:
    """Return a hint for somebody who misspelt the name of a data set."""
    close = difflib.get_close_matches(name, [*VARIANTS, "MMMU", "OCRBench", "MME"], n=3)
    return f"Did you mean {', '.join(close)}?" if close else "VLMEvalKit's README lists all names."


def model(name: str) -> str:
    """Return the host's name of a model.

    A name of the registry becomes the host's key, `hf:CHECKPOINT` a name that is valid in a file
    name; anything else is left to the host.

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
