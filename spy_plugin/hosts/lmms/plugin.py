"""The target of the entry point group `lmms_eval.models`: how lmms-eval finds SPY-Bench.

lmms-eval calls `manifests` while it imports its models, before any task is looked up. It receives
our models, and our task folder joins its search path as soon as the tasks are imported. Nothing
here may raise or take time: the host must start even where this package is broken.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

from spy_plugin.hosts.hooks import after_import, stepping_aside, switched_off
from spy_plugin.hosts.lmms.patches import add_tasks
from spy_plugin.models.packaged import PACKAGED

SELF_MODERATION_MODEL = "spy_self_mod"
POLICY_MODEL = "spy_policy"

_PACKAGE = "spy_plugin.hosts.lmms"


def manifests() -> list[Any]:
    """Return our models as lmms-eval's `ModelManifest`s, and register our tasks."""
    found: list[Any] = []
    if switched_off():
        return found
    with stepping_aside("be added to lmms-eval"):
        from lmms_eval.models.registry_v2 import ModelManifest

        after_import("lmms_eval.tasks", add_tasks)
        paths = {
            SELF_MODERATION_MODEL: f"{_PACKAGE}.self_moderation.SelfModeration",
            POLICY_MODEL: f"{_PACKAGE}.policy_model.PolicyModel",
        } | {name: f"{_PACKAGE}.checkpoint_model.{name}" for name in PACKAGED}
        found += [ModelManifest(name, chat_class_path=path) for name, path in paths.items()]
    with stepping_aside("add the models of its registry to lmms-eval"):
        if not _only_known_models_asked():
            from spy_plugin.hosts.lmms.named_models import named_manifests

            found += named_manifests()
    return found


def _only_known_models_asked() -> bool:
    """Return whether the command line names models, all of them known without the registry.

    Reading the registry takes a quarter of a second.
    """
    host = sys.modules["lmms_eval.models"]
    asked = {value for name, value in pairwise(sys.argv) if name == "--model"}
    asked |= {word[len("--model=") :] for word in sys.argv if word.startswith("--model=")}
    known = {SELF_MODERATION_MODEL, POLICY_MODEL, *PACKAGED}
    known |= {*host.AVAILABLE_SIMPLE_MODELS, *host.AVAILABLE_CHAT_TEMPLATE_MODELS}
    return bool(asked) and asked <= known
