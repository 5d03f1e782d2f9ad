"""VLMEvalKit's functions and containers: changed once, or left alone with a warning."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.hosts import hooks
from spy_plugin.hosts import patches as patching
from spy_plugin.hosts.patches import Patch
from spy_plugin.registry.catalog import hosts

declare_missing_ops()

pytest.importorskip("pandas")
pytest.importorskip("vlmeval")

from spy_plugin.hosts.vlmeval import patches, registration, self_moderation  # noqa: E402
from spy_plugin.hosts.vlmeval.names import VARIANTS  # noqa: E402

ALL: tuple[Patch, ...] = (
    *patches.LOAD,
    *patches.CHAT,
    patches.INFER,
    patches.REPORT,
)
CONTAINERS = ("DATASET_CLASSES", "SUPPORTED_DATASETS")


def host(name: str) -> Any:
    """A module of VLMEvalKit, imported by the tests, since every worker collects this file."""
    return importlib.import_module(f"vlmeval.{name}")


@pytest.fixture(autouse=True)
def own_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The host as it is without us, before and after each test; warnings may come again."""
    for name in CONTAINERS:
        entries = [each for each in getattr(host("dataset"), name) if "SPYBench" not in str(each)]
        monkeypatch.setattr(host("dataset"), name, entries)
    monkeypatch.setattr(host("config"), "supported_VLM", dict(host("config").supported_VLM))
    monkeypatch.setattr(patching, "_reported", set())
    monkeypatch.setattr(hooks, "_logged", set())
    for patch in ALL:
        patch.undo()
    yield
    for patch in ALL:
        patch.undo()


def write_status(folder: Path) -> Path:
    """A run on SPY-Bench and the three general benchmarks."""
    metrics: dict[str, dict[str, float]] = {
        "SPYBench_MINI": {"Privacy Score": 60.0},
        "MMMU_DEV_VAL": {"split=validation|Overall": 0.5},
        "OCRBench": {"Final Score Norm": 60.0},
        "MME": {"perception": 1000.0, "reasoning": 300.0},
    }
    entries = {
        name: {"metrics": each, "judge_model": "exact_matching"} for name, each in metrics.items()
    }
    status = {"model_name": "m", "datasets": entries}
    (folder / "status.json").write_text(json.dumps(status))
    return folder


def test_general_and_overall_are_added_once_however_often_we_are_asked(tmp_path: Path) -> None:
    """Once by the opt-in file of `spy-bench plugin enable`, once by our launcher."""
    for _ in range(2):
        patches.extend_summary()
    rows = host("smp").collect_run_benchmark_report(write_status(tmp_path))
    combined = [row for row in rows if row["benchmark"] == "SPYBench_MINI with general"]
    assert [row["primary_metric"] for row in combined] == [["General", "Overall"]]
    assert patches.reported_runs[-1] == tmp_path


def test_a_broken_status_costs_our_rows_and_not_the_hosts_summary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host("smp"), "collect_run_benchmark_report", lambda run_dir: ["the host's"])
    patches.extend_summary()
    assert host("smp").collect_run_benchmark_report(tmp_path) == ["the host's"]
    assert "could not add the rows General and Overall" in caplog.text


@pytest.mark.parametrize("patch", ALL, ids=lambda patch: patch.target)
def test_a_patch_without_its_function_is_left_out_with_a_warning(
    patch: Patch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = patch.target.partition(":")
    monkeypatch.delattr(importlib.import_module(module), name)
    patches.extend_summary()
    assert registration.register()
    assert not patch.applied
    assert all(other.applied for other in ALL if other is not patch)
    assert f"{module}.{name}" in caplog.text
    assert patch.loss in caplog.text


def test_self_moderation_is_offered_only_where_it_is_played_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offered() -> set[str]:
        return set(host("dataset").SUPPORTED_DATASETS) & set(VARIANTS)

    own_way = {name for name, variant in VARIANTS.items() if not variant.self_moderation}
    with monkeypatch.context() as changed:
        changed.setattr(host("inference_mt"), "chat_mt", lambda model, conversation: [])
        assert registration.register()
        assert offered() == own_way
    assert registration.register()
    assert offered() == set(VARIANTS)


def test_registering_again_changes_nothing() -> None:
    def state() -> tuple[Any, ...]:
        containers = [list(getattr(host("dataset"), name)) for name in CONTAINERS]
        names = [patch.target.split(":") for patch in ALL]
        functions = [getattr(importlib.import_module(module), name) for module, name in names]
        return containers, dict(host("config").supported_VLM), functions

    assert registration.register()
    patches.extend_summary()
    once = state()
    assert registration.register()
    patches.extend_summary()
    assert state() == once


@pytest.mark.parametrize(
    ("module", "name"),
    [*(("dataset", name) for name in CONTAINERS), ("config", "supported_VLM")],
)
def test_a_host_without_a_container_is_left_alone_with_one_error_that_names_it(
    module: str, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(host(module), name)
    assert not registration.register()
    assert not registration.register()
    assert caplog.text.count("could not be added to VLMEvalKit") == 1
    assert name in caplog.text


def api_classes() -> list[type]:
    """The API classes of the installed VLMEvalKit."""
    import vlmeval.api as api
    from vlmeval.api.base import BaseAPI

    found: set[type] = set()
    for info in pkgutil.iter_modules(api.__path__):
        values = vars(importlib.import_module(f"vlmeval.api.{info.name}")).values()
        found |= {each for each in values if isinstance(each, type) and issubclass(each, BaseAPI)}
    return sorted(found - {BaseAPI}, key=lambda each: f"{each.__module__}.{each.__qualname__}")


def test_the_registry_lists_the_classes_of_this_version_that_read_conversations() -> None:
    """The list was read from the host's code; here it is read again."""
    reads = re.compile(r"""["']role["'] in inputs\[0\]""")
    version = self_moderation.host_version("vlmeval")
    listed = hosts()["vlmeval"].multi_turn_classes
    if version not in listed:
        pytest.skip(f"VLMEvalKit {version} is not a tested version")
    classes = api_classes()
    found = [c for c in classes if reads.search(inspect.getsource(c))]
    assert [f"{c.__module__}.{c.__qualname__}" for c in found] == sorted(listed[version])
    derived = [c for c in classes if issubclass(c, tuple(found))]
    assert [c for c in classes if self_moderation.plays_turns(c)] == derived
