"""Makes VLMEvalKit know our data sets and models, by entries in its own containers.

Registering twice changes nothing, and `register` never raises: a host must start even where this
package is broken.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.hooks import after_import, stepping_aside, switched_off
from spy_plugin.hosts.versions import warn_if_untested
from spy_plugin.hosts.vlmeval import names

_DATASET = "spy_plugin.hosts.vlmeval.dataset"


def register() -> bool:
    """Add our data sets, models and patches to the host.

    Returns:
        Whether the host knows them now; if not, the log says why.
    """
    with stepping_aside("be added to VLMEvalKit"):
        warn_if_untested("vlmeval")
        _register_datasets()
        _register_models()
        return True
    return False


def register_on_import() -> None:
    """Register once the host is imported, whoever imports it; see `spy_plugin.hosts.pth_file`."""
    if switched_off():
        return
    awaited = {"vlmeval.dataset", "vlmeval.config"}  # each may be imported while the other is

    def complete(module: ModuleType) -> None:
        awaited.discard(module.__name__)
        if awaited or _DATASET in sys.modules:
            return  # a program that imports our data sets itself registers them itself
        if register():
            from spy_plugin.hosts.vlmeval.patches import extend_summary

            extend_summary()

    for name in sorted(awaited):
        after_import(name, complete)


def _register_datasets() -> None:
    import vlmeval.dataset as host

    from spy_plugin.hosts.vlmeval.dataset import SPYBench, SPYBenchSelfMod
    from spy_plugin.hosts.vlmeval.patches import (
        keep_reloaded_answers,
        note_settings,
        play_whole_conversations,
        set_limits,
    )

    classes, supported = host.DATASET_CLASSES, host.SUPPORTED_DATASETS
    keep_reloaded_answers()
    note_settings()
    set_limits()
    for dataset in (SPYBench, *([SPYBenchSelfMod] if play_whole_conversations() else [])):
        if dataset not in classes:
            classes.append(dataset)
        supported.extend(name for name in dataset.supported_datasets() if name not in supported)
        setattr(host, dataset.__name__, dataset)  # `--config` looks classes up by attribute


def _register_models() -> None:
    from vlmeval.config import supported_VLM

    from spy_plugin.benchmark.policies import POLICIES
    from spy_plugin.hosts.vlmeval.models import HFChat, PolicyModel
    from spy_plugin.models.packaged import PACKAGED
    from spy_plugin.registry.catalog import load_target, models

    own: dict[str, Any] = {name: partial(PolicyModel, policy=name) for name in POLICIES}
    own |= {name: partial(HFChat, model_path=name) for name in PACKAGED}
    for model in models():
        builder = supported_VLM.get(model.vlmeval.key)
        if model.vlmeval.target:
            builder = partial(load_target(model.vlmeval.target), **model.vlmeval.arguments)
        if builder is not None:
            own |= dict.fromkeys(model.names, builder)
    for name, builder in own.items():
        supported_VLM.setdefault(name, builder)


def add_asked_models(asked: Sequence[str], *, allow_unknown: bool) -> None:
    """Register the checkpoints that were asked for, and check the other names.

    Args:
        asked: Names as the user gave them.
        allow_unknown: Names may be unknown to the host: they go to a server or come from a config.

    Raises:
        SpyBenchError: the host does not know a model; the closest names are given.
    """
    from vlmeval.config import supported_VLM

    from spy_plugin.hosts.vlmeval.models import HFChat

    for name in asked:
        known_as = names.model(name)
        if name.startswith(names.CHECKPOINT_PREFIX):
            supported_VLM[known_as] = partial(HFChat, model_path=names.checkpoint(name))
        elif known_as not in supported_VLM and not allow_unknown:
            close = difflib.get_close_matches(name, list(supported_VLM), n=3)
            hint = f"Did you mean {', '.join(close)}?" if close else "See: spy-bench models."
            raise SpyBenchError(
                f"VLMEvalKit has no model {name!r}. {hint} Run a checkpoint as "
                "hf:FOLDER_OR_HUB_ID, a served model with --base-url URL."
            )
