"""Makes VLMEvalKit know our data sets and models, in place.

Idempotent, and never raises: a host must start even where we are broken.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import Any

from spy_plugin.policies import POLICIES
from spy_plugin.tiny import NAME as TINY

logger = logging.getLogger(__name__)

PROVEN_VERSIONS = ("0.0.20",)


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
        _register_datasets()
        _register_models()
    except Exception:
        logger.exception("SPY-Bench could not be added to VLMEvalKit; the host goes on without it")
        return False
    return True


def _register_datasets() -> None:
    import vlmeval.dataset as host

    from spy_plugin.hosts.vlmeval.dataset import SPYBench

    if SPYBench not in host.DATASET_CLASSES:
        host.DATASET_CLASSES.append(SPYBench)
    for name in SPYBench.supported_datasets():
        if name not in host.SUPPORTED_DATASETS:
            host.SUPPORTED_DATASETS.append(name)
    host.SPYBench = SPYBench  # `--config` looks classes up by attribute


def _register_models() -> None:
    from vlmeval.config import supported_VLM

    from spy_plugin.hosts.vlmeval.models import HFChat, PolicyModel

    own: dict[str, Any] = {name: partial(PolicyModel, policy=name) for name in POLICIES}
    own[TINY] = partial(HFChat, model_path=TINY)
    for name, builder in own.items():
        supported_VLM.setdefault(name, builder)


def register_checkpoint(name: str, model_path: str) -> None:
    """Let `--model name` run a Hugging Face checkpoint through `HFChat`."""
    from vlmeval.config import supported_VLM

    from spy_plugin.hosts.vlmeval.models import HFChat

    supported_VLM[name] = partial(HFChat, model_path=model_path)
