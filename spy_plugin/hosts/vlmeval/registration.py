"""Makes VLMEvalKit know our data sets and models, in place.

Idempotent, and never raises: a host must start even where we are broken.
"""

from __future__ import annotations

import logging
import sys
from functools import cache, partial
from importlib import metadata
from typing import Any

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.models.packaged import PACKAGED
from spy_plugin.registry.catalog import load_target, models, tested_versions

logger = logging.getLogger(__name__)


def register() -> bool:
    """Add our data sets and models to the host.

    Returns:
        True if the host knows them now; False if it could not be done (logged once) or the host
        is half imported (then `spy_plugin.hosts.vlmeval.dataset` calls this again at its end).
    """
    dataset_module = sys.modules.get("vlmeval.dataset")
    if dataset_module is not None and not hasattr(dataset_module, "SUPPORTED_DATASETS"):
        return False
    try:
        _warn_of_untested_version()
        _register_datasets()
        _register_models()
    except Exception:
        logger.exception("SPY-Bench could not be added to VLMEvalKit; the host goes on without it")
        return False
    return True


@cache
def _warn_of_untested_version() -> None:
    version, tested = host_version(), tested_versions()["ms-vlmeval"]
    if version and version not in tested:
        logger.warning(
            "VLMEvalKit %s is not a version that SPY-Bench was tested with (%s)",
            version,
            ", ".join(tested),
        )


def host_version() -> str:
    """Version of the installed package; empty for an upstream checkout, which has none."""
    for distribution in ("ms-vlmeval", "vlmeval"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _register_datasets() -> None:
    import vlmeval.dataset as host

    from spy_plugin.hosts.vlmeval.dataset import SPYBench, SPYBenchSelfMod
    from spy_plugin.hosts.vlmeval.predictions import keep_reloaded_answers
    from spy_plugin.hosts.vlmeval.turns import keep_turns_whole

    for dataset in (SPYBench, SPYBenchSelfMod):
        if dataset not in host.DATASET_CLASSES:
            host.DATASET_CLASSES.append(dataset)
        for name in dataset.supported_datasets():
            if name not in host.SUPPORTED_DATASETS:
                host.SUPPORTED_DATASETS.append(name)
        setattr(host, dataset.__name__, dataset)  # `--config` looks classes up by attribute
    keep_reloaded_answers()
    keep_turns_whole()


def _register_models() -> None:
    from vlmeval.config import supported_VLM

    from spy_plugin.hosts.vlmeval.models import HFChat, PolicyModel

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


def register_checkpoint(name: str, model_path: str) -> None:
    """Let `--model name` run a Hugging Face checkpoint through `HFChat`."""
    from vlmeval.config import supported_VLM

    from spy_plugin.hosts.vlmeval.models import HFChat

    supported_VLM[name] = partial(HFChat, model_path=model_path)
