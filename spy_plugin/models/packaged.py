"""The tiny models that come with the package, known by name to every backend and both hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from spy_plugin.errors import SpyBenchError
from spy_plugin.models import tiny_random

NAMES = ("spy-tiny-base", "spy-tiny-ncap")
"""The lab's shipped weights: the base always answers; the other was aligned by NCA-P."""

MAX_NEW_TOKENS = 24


@dataclass(frozen=True)
class PackagedModel:
    """A tiny model that comes with the package.

    Attributes:
        folder: Returns the folder of its checkpoint.
        max_new_tokens: Limit of an answer, where the model was trained on shorter ones.
        batch_size: Conversations that even a laptop continues together.
    """

    folder: Callable[[], Path]
    max_new_tokens: int | None = None
    batch_size: int = 32


def folder(name: str) -> Path:
    """Folder of a shipped model: a Qwen2-VL checkpoint in float16 with its processor."""
    return Path(__file__).parent / "weights" / name


PACKAGED: Mapping[str, PackagedModel] = {
    tiny_random.NAME: PackagedModel(tiny_random.build),
    **{name: PackagedModel(partial(folder, name), MAX_NEW_TOKENS) for name in NAMES},
}
"""Name -> model."""


def checkpoint_folder(name: str) -> Path:
    """Folder of a packaged model's checkpoint.

    Args:
        name: A key of `PACKAGED`.

    Raises:
        SpyBenchError: its weights are missing.
    """
    found = PACKAGED[name].folder()
    if not (found / "config.json").is_file():
        raise SpyBenchError(
            f"the weights of {name} are not in {found}. Reinstall the package: "
            "pip install --force-reinstall --no-deps spy-bench"
        )
    return found
