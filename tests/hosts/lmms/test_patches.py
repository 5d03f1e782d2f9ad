"""lmms-eval's functions: replaced once, or left alone with a warning while the host continues."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts import hooks
from spy_plugin.hosts import patches as patching
from spy_plugin.hosts.lmms import patches, plugin
from spy_plugin.models.packaged import PACKAGED

pytest.importorskip("loguru")


class Manager:
    """A task manager that returns where it looked."""

    def initialize_tasks(self, include_path: Any = None, include_defaults: bool = True) -> Any:
        return include_path


class Tracker:
    """An evaluation tracker that returns what it saved."""

    output_path = ""

    def save_results_aggregated(self, results: Any, samples: Any, datetime_str: str) -> Any:
        return dict(results)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Stand-ins for the host's two modules."""
    tasks: Any = ModuleType("lmms_eval.tasks")
    tasks.TaskManager = type("TaskManager", (Manager,), {})
    tracker: Any = ModuleType("lmms_eval.loggers.evaluation_tracker")
    tracker.EvaluationTracker = type("EvaluationTracker", (Tracker,), {})
    for module in (tasks, tracker):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(patching, "_reported", set())
    monkeypatch.setattr(hooks, "_logged", set())
    return tasks, tracker


def test_our_folder_is_searched_once_and_after_the_users(host: tuple[Any, Any]) -> None:
    tasks, _ = host
    for _ in range(2):
        patches.add_tasks(tasks)
    manager = tasks.TaskManager()
    assert manager.initialize_tasks() == [str(patches.TASK_FOLDER)]
    assert manager.initialize_tasks("mine") == ["mine", str(patches.TASK_FOLDER)]
    assert manager.initialize_tasks(["a", "b"], False) == ["a", "b", str(patches.TASK_FOLDER)]


def test_results_are_extended_when_tasks_are_looked_up(host: tuple[Any, Any]) -> None:
    tasks, tracker = host
    patches.add_tasks(tasks)
    assert not patches.RESULTS.applied
    for _ in range(2):
        tasks.TaskManager().initialize_tasks()
    assert patches.RESULTS.applied
    results = {"results": {"mmmu_val": {"mmmu_acc,none": 0.5}}}
    saved = tracker.EvaluationTracker().save_results_aggregated(results, {}, "now")
    assert saved["results"] == results["results"]
    patches.RESULTS.undo()
    assert not patches.RESULTS.applied


@pytest.mark.parametrize("name", ["TaskManager", "initialize_tasks"])
def test_a_host_without_its_task_manager_is_left_alone(
    name: str, host: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    tasks, _ = host
    if name == "TaskManager":
        del tasks.TaskManager
    else:
        tasks.TaskManager = type("TaskManager", (), {})
    patches.add_tasks(tasks)
    assert "lmms_eval.tasks.TaskManager.initialize_tasks, which does not exist" in caplog.text
    assert f"--include_path {patches.TASK_FOLDER}" in caplog.text


def test_a_host_that_saves_otherwise_still_finds_our_tasks(
    host: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    tasks, tracker = host
    tracker.EvaluationTracker.save_results_aggregated = lambda self, everything: everything
    patches.add_tasks(tasks)
    assert tasks.TaskManager().initialize_tasks() == [str(patches.TASK_FOLDER)]
    assert "save_results_aggregated, which takes (self, everything)" in caplog.text
    assert tracker.EvaluationTracker().save_results_aggregated("all") == "all"


def test_the_hosts_results_are_saved_although_ours_cannot_be_added(
    host: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    from spy_plugin.hosts.lmms import scores

    tasks, tracker = host
    patches.add_tasks(tasks)
    tasks.TaskManager().initialize_tasks()
    scores.FINISHED["spy_bench_distractors"] = []
    results = {"no": "results"}
    assert tracker.EvaluationTracker().save_results_aggregated(results, {}, "now") == results
    assert not scores.FINISHED
    assert "could not add its rows to lmms-eval's results" in caplog.text


def fake_models(monkeypatch: pytest.MonkeyPatch, manifest: type | None, **tables: Any) -> None:
    """Put stand-ins in the place of the host's model registry."""
    models: Any = ModuleType("lmms_eval.models")
    registry: Any = ModuleType("lmms_eval.models.registry_v2")
    if manifest is not None:
        registry.ModelManifest = manifest
    models.registry_v2 = registry
    vars(models).update(tables)
    for module in (models, registry):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(hooks, "_logged", set())
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "argv", ["lmms-eval", "--model", "Qwen2-VL-7B"])


class Manifest:
    """A manifest that keeps its model's name."""

    def __init__(self, name: str, **paths: Any) -> None:
        self.name = name


def test_without_the_hosts_tables_our_own_models_are_there_still(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_models(monkeypatch, Manifest)
    names = [manifest.name for manifest in plugin.manifests()]
    assert names == ["spy_self_mod", "spy_policy", *PACKAGED]
    assert "could not add the models of its registry to lmms-eval" in caplog.text
    assert "AVAILABLE_SIMPLE_MODELS" in caplog.text


def test_without_manifests_nothing_is_added_and_the_host_continues(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_models(monkeypatch, None, AVAILABLE_SIMPLE_MODELS={}, AVAILABLE_CHAT_TEMPLATE_MODELS={})
    assert plugin.manifests() == []
    assert "could not be added to lmms-eval" in caplog.text
    assert "ModelManifest" in caplog.text


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("Tasks not found: mme2. Try"), "spy-bench: error: Tasks not found: mme2. Try"),
        (SpyBenchError("unknown policy 'x'."), "spy-bench: error: unknown policy 'x'."),
        (ValueError("a bug"), None),
        (KeyError("a bug"), None),
    ],
)
def test_only_a_wrong_name_ends_in_one_line(
    error: Exception, shown: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host prints the traceback of any other exception, but lets `SystemExit` pass."""

    def cli_evaluate_single(args: Any = None) -> None:
        raise error

    main: Any = ModuleType("lmms_eval.__main__")
    main.cli_evaluate_single = cli_evaluate_single
    monkeypatch.setitem(sys.modules, main.__name__, main)
    monkeypatch.setattr(patches, "_refuse_unknown_model", lambda name: None)
    for _ in range(2):
        patches.explain_names(main)
    with pytest.raises(SystemExit if shown else type(error)) as caught:
        main.cli_evaluate_single(SimpleNamespace(model="spy_policy"))
    assert caught.value is error or str(caught.value) == shown
    assert main.cli_evaluate_single.__wrapped__ is cli_evaluate_single
