"""Translates names that people use into VLMEvalKit's before it parses its command line."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spy_plugin.benchmarks import OWN_VARIABLE, is_own
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.home import expand
from spy_plugin.registry.catalog import hosts, resolve_model, variants

VARIANTS = {variant.vlmeval: variant for variant in variants()}
"""Our data sets, by the host's name."""

CHECKPOINT_PREFIX = "hf:"

OWN_DATASETS = {
    "spy": "SPYBench_OWN",
    "spy-no-distractors": "SPYBench_OWN_NO_DISTRACTORS",
    "spy-self-mod": "SPYBench_OWN_SELF_MOD",
}
"""Prefix of ``PREFIX:DIR`` -> our data set on one's own benchmark in that folder."""


def dataset(name: str) -> str:
    """Return the host's name of a data set, for example MMMU_DEV_VAL for MMMU."""
    prefix, colon, _ = name.partition(":")
    if colon and prefix in OWN_DATASETS:
        return OWN_DATASETS[prefix]
    return hosts()["vlmeval"].dataset_aliases.get(name, name)


def note_own_folder(asked: Sequence[str]) -> None:
    """Put the folder of ``spy:DIR`` where this process and those that it starts find it.

    Raises:
        SpyBenchError: a folder holds no benchmark, or two are named.
    """
    named = [name.partition(":") for name in asked]
    folders = {folder for prefix, colon, folder in named if colon and prefix in OWN_DATASETS}
    if len(folders) > 1:
        raise SpyBenchError(
            f"{len(folders)} benchmarks of your own are named: {', '.join(sorted(folders))}. "
            "Run one at a time."
        )
    for folder in folders:
        path = expand(folder).absolute()
        if not is_own(path):
            raise SpyBenchError(
                f"{folder} holds no benchmark. Write one with: spy-bench new {folder or 'DIR'}"
            )
        os.environ[OWN_VARIABLE] = str(path)


def closest_datasets(name: str) -> str:
    """Return a hint for somebody who misspelt the name of a data set."""
    close = difflib.get_close_matches(name, [*VARIANTS, "MMMU", "OCRBench", "MME"], n=3)
    return f"Did you mean {', '.join(close)}?" if close else "VLMEvalKit's README lists all names."


def model(name: str) -> str:
    """Return the host's name of a model.

    A name of the registry becomes the host's key, `hf:CHECKPOINT` a name that is valid in a file
    name: of a folder its own name with six digits that stand for its whole path, else the hub id.
    Anything else is left to the host.

    Raises:
        SpyBenchError: nothing follows `hf:`.
    """
    if name.startswith(CHECKPOINT_PREFIX):
        return _checkpoint_name(checkpoint(name))
    known = resolve_model(name)
    if known is None:
        return name
    return known.vlmeval.key or known.name


def checkpoint(name: str) -> str:
    """Return the folder or hub id of `hf:CHECKPOINT`, with `~` spelt out."""
    path = name.removeprefix(CHECKPOINT_PREFIX)
    return str(Path(path).expanduser()) if path.startswith("~") else path


def _checkpoint_name(path: str) -> str:
    folder = Path(path)
    if path and folder.is_dir():
        whole = str(folder.resolve())
        digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
        return f"{_safe(Path(whole).name)}-{digest}"
    safe = _safe(path)
    if not safe:
        raise SpyBenchError("hf: needs a folder or a hub id, as in hf:outputs/my-model.")
    return safe


def _safe(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "--", text).strip("-.")


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
