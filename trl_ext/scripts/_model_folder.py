"""Looks for the model that a command names, before torch and transformers take seconds to load."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from spy_plugin.errors import SpyBenchError
from spy_plugin.models.packaged import PACKAGED
from trl_ext import configs

OPTION = "model_name_or_path"


def check_model_folder(words: Sequence[str]) -> None:
    """Refuse a command whose model is a folder that is missing or holds no model.

    Names that may be on the Hub are left to transformers.

    Raises:
        SpyBenchError: names the folder and what to do.
    """
    name = _named(words)
    if name is None or name in PACKAGED:
        return
    folder = Path(name).expanduser()
    if folder.is_file():
        raise SpyBenchError(
            f"{name} is a file. Give the folder that holds the model, with its config.json, "
            "or the model's name on the Hub as --model_name_or_path."
        )
    if folder.is_dir():
        if (
            not (folder / "config.json").is_file()
            and not (folder / "adapter_config.json").is_file()
        ):
            raise SpyBenchError(
                f"the model folder {name} holds no config.json. Give the folder that "
                "save_pretrained wrote, or the model's name on the Hub."
            )
    elif _is_path(name) or (os.environ.get("HF_HUB_OFFLINE") == "1" and not _in_cache(name)):
        where = "" if _is_path(name) else ", nor is it in the cache of the Hub (HF_HUB_OFFLINE=1)"
        raise SpyBenchError(
            f"the model folder {name} does not exist{where}. Give an existing folder, or the "
            "model's name on the Hub as --model_name_or_path."
        )


def _named(words: Sequence[str]) -> str | None:
    """Return the model's name in a command line, else in the last settings file with one."""
    name: Any = None
    files: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option == f"--{OPTION}":
            name = value if equals else following
        elif option == "--config":
            files.append(value if equals else following)
    for file in reversed(files):
        name = name or _setting(file)
    return str(name) if name else None


def _setting(file: str) -> Any:
    try:
        settings = yaml.safe_load(configs.find(file).read_text(encoding="utf-8"))
    except (SpyBenchError, OSError, ValueError, RecursionError, yaml.YAMLError):
        return None  # the parser of the command says what is wrong with the file
    return settings.get(OPTION) if isinstance(settings, dict) else None


def _is_path(name: str) -> bool:
    """Return whether a name cannot be on the Hub, whose names are `NAME` or `OWNER/NAME`."""
    path = Path(name)
    return (
        name.startswith((".", "~", "/"))
        or len(path.parts) > 2
        or name.endswith(("/", os.sep))
        or path.is_absolute()
        or (len(path.parts) == 2 and path.parent.is_dir())
    )


def _in_cache(name: str) -> bool:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    return (hub / f"models--{name.replace('/', '--')}").is_dir()
