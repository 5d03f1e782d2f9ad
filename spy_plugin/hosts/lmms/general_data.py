"""Whether the host can get the data of MMMU and others, asked before it loads a model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.lmms.samples import TASKS
from spy_plugin.hosts.reachable import why_unreachable

_REPORT = "_report"
_GENERAL = ("mmmu_val", "ocrbench", "mme")
"""Tasks that a group of ours whose name ends in `_REPORT` adds."""
_REPOSITORY = re.compile(r"^dataset_path:\s*['\"]?([\w.-]+/[\w.-]+)['\"]?\s*$", re.MULTILINE)


def check_general_data(names: Iterable[str]) -> None:
    """Refuse tasks of the host whose data sets are neither on this machine nor within reach.

    The host downloads a data set from the Hugging Face hub after it has loaded the model. Groups
    of the host, and data sets from elsewhere, are left to it.

    Args:
        names: As `--tasks` names them; our own tasks are skipped.

    Raises:
        SpyBenchError: a data set is missing and the hub cannot be reached; says what to do.
    """
    missing = {task: repository for task in _tasks(names) if (repository := _repository(task))}
    missing = {task: name for task, name in missing.items() if not _is_here(name)}
    why = _why_no_hub() if missing else ""
    if why:
        task, repository = next(iter(missing.items()))
        raise SpyBenchError(
            f"the data of {task} are missing: {repository} is not in the cache of the Hugging Face "
            f"hub, and the hub cannot be reached ({why}). Download it where there is a network "
            f"(hf download --repo-type dataset {repository}) and copy the cache, or leave {task} "
            "out of --tasks."
        )


def _tasks(names: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        ours = name.startswith("spy_bench") and name.endswith(_REPORT)
        found.update(dict.fromkeys(_GENERAL if ours else (name,)))
    return [name for name in found if name not in TASKS]


def _repository(task: str) -> str:
    """Return the hub's name of a task's data set; empty if the host's files do not say it."""
    package = find_spec("lmms_eval")
    if package is None or not package.submodule_search_locations:
        return ""
    folder = Path(package.submodule_search_locations[0], "tasks")
    for path in (path for path in folder.glob("*/*.yaml") if path.stem == task):
        found = _REPOSITORY.search(path.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[1]
    return ""


def _is_here(repository: str) -> bool:
    """Return whether the hub's cache, or the one of `datasets`, holds anything of a data set."""
    from datasets import config
    from huggingface_hub import constants

    owner, name = repository.split("/")
    downloaded = Path(constants.HF_HUB_CACHE, f"datasets--{owner}--{name}")
    prepared = Path(config.HF_DATASETS_CACHE)
    folder = f"{owner}___{name}".casefold()
    return downloaded.is_dir() or any(
        path.name.casefold() == folder for path in prepared.glob("*") if path.is_dir()
    )


def _why_no_hub() -> str:
    from huggingface_hub import constants

    return (
        "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else why_unreachable(constants.ENDPOINT)
    )
