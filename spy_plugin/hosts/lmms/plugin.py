"""What lmms-eval meets of us: the target of the entry point group `lmms_eval.models`.

lmms-eval calls `manifests` while it imports its models, before any task is looked up. It gets our
models back, and the task folder is put on its search path as soon as the tasks are imported.
Nothing here may raise or cost time: the host has to start even where we are broken.
"""

from __future__ import annotations

import logging
import sys
from functools import cache, wraps
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from spy_plugin.hosts.post_import import after_import
from spy_plugin.hosts.switch import switched_off
from spy_plugin.models.packaged import PACKAGED

logger = logging.getLogger(__name__)

TASK_FOLDER = Path(__file__).with_name("tasks")
SELF_MODERATION_MODEL = "spy_self_mod"
POLICY_MODEL = "spy_policy"

_PACKAGE = "spy_plugin.hosts.lmms"


def manifests() -> list[Any]:
    """Our models, as lmms-eval's `ModelManifest`s; registers the tasks on the way."""
    if switched_off():
        return []
    try:
        from lmms_eval.models.registry_v2 import ModelManifest

        after_import("lmms_eval.tasks", _add_task_folder)
        return [
            ModelManifest(
                SELF_MODERATION_MODEL, chat_class_path=f"{_PACKAGE}.self_moderation.SelfModeration"
            ),
            ModelManifest(POLICY_MODEL, chat_class_path=f"{_PACKAGE}.policy_model.PolicyModel"),
            *(
                ModelManifest(name, chat_class_path=f"{_PACKAGE}.checkpoint_model.{name}")
                for name in PACKAGED
            ),
            *_named_models(),
        ]
    except Exception:
        logger.exception("SPY-Bench could not be added to lmms-eval; the host goes on without it")
        return []


def _named_models() -> list[Any]:
    """The registry's models; where they cannot be had, ours and the tasks are there still.

    Reading the registry takes a quarter of a second, so it is left out where the command line
    asks for a model that the host knows itself.
    """
    host = sys.modules["lmms_eval.models"]
    asked = {value for name, value in pairwise(sys.argv) if name == "--model"}
    asked |= {word[len("--model=") :] for word in sys.argv if word.startswith("--model=")}
    own = {SELF_MODERATION_MODEL, POLICY_MODEL, *PACKAGED}
    if asked and asked <= own | {
        *host.AVAILABLE_SIMPLE_MODELS,
        *host.AVAILABLE_CHAT_TEMPLATE_MODELS,
    }:
        return []
    try:
        from spy_plugin.hosts.lmms.named_models import named_manifests

        return named_manifests()
    except Exception:
        logger.exception("the models of SPY-Bench's registry could not be added to lmms-eval")
        return []


def _add_task_folder(tasks: ModuleType) -> None:
    """Let every `TaskManager` of the host search our folder too."""
    try:
        manager = tasks.TaskManager
        original = manager.initialize_tasks
        if getattr(original, "knows_spy_bench", False):
            return

        @wraps(original)
        def initialize_tasks(
            self: Any, include_path: str | list[str] | None = None, *args: Any, **kwargs: Any
        ) -> Any:
            _extend_results()
            paths = [include_path] if isinstance(include_path, str) else list(include_path or [])
            return original(self, [*paths, str(TASK_FOLDER)], *args, **kwargs)

        initialize_tasks.knows_spy_bench = True  # type: ignore[attr-defined]
        manager.initialize_tasks = initialize_tasks
    except Exception:
        logger.exception("SPY-Bench's tasks could not be added to lmms-eval")


def _extend_results() -> None:
    """Add our rows where the host saves results; only a run that evaluates has that module."""
    tracker = sys.modules.get("lmms_eval.loggers.evaluation_tracker")
    if tracker is None:
        return
    try:
        from spy_plugin.hosts.lmms.results import extend_tracker

        extend_tracker(tracker.EvaluationTracker)
        _warn_of_untested_version()
    except Exception:
        logger.exception("SPY-Bench could not add the overall score to lmms-eval's results")


@cache
def _warn_of_untested_version() -> None:
    from importlib.metadata import version

    from spy_plugin.registry.catalog import tested_versions

    installed, tested = version("lmms-eval"), tested_versions()["lmms-eval"]
    if installed not in tested:
        logger.warning(
            "lmms-eval %s is not a version that SPY-Bench was tested with (%s)",
            installed,
            ", ".join(tested),
        )
