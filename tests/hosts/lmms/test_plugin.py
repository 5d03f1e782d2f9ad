"""The entry point is cheap and complete, and never disturbs the host."""

from __future__ import annotations

import sys
from itertools import permutations
from pathlib import Path

import pytest
import yaml

from spy_plugin.hosts import versions
from spy_plugin.hosts.lmms.patches import TASK_FOLDER
from spy_plugin.registry.catalog import variants
from tests.hosts.lmms.harness import Harness

_SEEN = """
import sys
from lmms_eval import models
print("models", [m for m in models.list_available_models() if m.startswith("spy_")])
print("heavy", [m for m in ("torch", "lmms_eval.tasks", "datasets") if m in sys.modules])
print("named", "Qwen2-VL-7B" in models.list_available_models(include_aliases=True))
print("host", "qwen2_vl" in models.list_available_models())
"""


class _Loader(yaml.SafeLoader):
    """Load the task files; a function is represented by its name."""


def _name(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("!function", _name)


def _task_files() -> dict[str, dict[str, object]]:
    return {path.stem: yaml.load(path.read_text(), _Loader) for path in TASK_FOLDER.glob("*.yaml")}


def _python(harness: Harness, code: str, **env: str) -> str:
    done = harness.start("-c", code, command=(sys.executable,), env={"PYTHONPATH": ""} | env)
    assert done.code == 0, done.text
    return done.text


def test_a_fresh_interpreter_knows_our_models_and_loads_nothing_heavy(harness: Harness) -> None:
    seen = _python(harness, _SEEN)
    assert "models ['spy_policy', 'spy_self_mod']" in seen
    assert "named True" in seen
    assert "heavy []" in seen


def test_one_variable_switches_us_off(harness: Harness) -> None:
    seen = _python(harness, _SEEN, SPY_BENCH_PLUGIN="off")
    assert "models []" in seen
    assert "host True" in seen


def test_the_host_starts_where_our_package_is_broken(harness: Harness, tmp_path: Path) -> None:
    broken = tmp_path / "spy_plugin"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('broken on purpose')\n")
    seen = _python(harness, _SEEN, PYTHONPATH=str(tmp_path))
    assert "broken on purpose" in seen  # the host reports why the plugin is missing
    assert "models []" in seen
    assert "host True" in seen


def test_a_version_that_was_never_run_gets_a_warning_that_names_both(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.warn_if_untested.cache_clear()
    versions.warn_if_untested("lmms-eval")
    assert not caplog.text
    versions.warn_if_untested.cache_clear()
    monkeypatch.setattr(versions, "version_of", lambda name: "9.9.9")
    versions.warn_if_untested("lmms-eval")
    assert "lmms-eval 9.9.9 is not a version" in caplog.text
    assert "0.7.3" in caplog.text


def test_every_variant_of_the_registry_has_a_task() -> None:
    files = _task_files()
    tasks = {name for name, content in files.items() if isinstance(content.get("task"), str)}
    assert tasks == {variant.lmms for variant in variants()}
    for name in tasks:
        assert files[name]["task"] == name
        assert files[name]["include"] == "_common.yaml"


def test_groups_hold_what_is_documented() -> None:
    files = _task_files()
    general = ["mmmu_val", "ocrbench", "mme"]
    for group in ("spy_bench", "spy_bench_mini", "spy_bench_lab"):
        assert files[group]["task"] == [f"{group}_distractors", f"{group}_no_distractors"]
    for group in ("spy_bench", "spy_bench_mini"):
        assert files[f"{group}_report"]["task"] == [group, *general]


def test_metrics_are_named_once_and_no_name_contains_another() -> None:
    scores = pytest.importorskip("spy_plugin.hosts.lmms.scores")
    common = _task_files()["_common"]
    listed: list[dict[str, str]] = common["metric_list"]  # type: ignore[assignment]
    names = [entry["metric"] for entry in listed]
    assert names == list(scores.COUNTS_IN)
    assert not [(a, b) for a, b in permutations(names, 2) if a in b]
    for entry in listed:
        module, _, function = entry["aggregation"].rpartition(".")
        assert module == scores.__name__
        assert function == entry["metric"]
        assert callable(getattr(scores, function))


def test_decoding_is_the_protocols() -> None:
    options = _task_files()["_common"]["generation_kwargs"]
    # Without `until` the host would stop at a blank line.
    assert options == {"max_new_tokens": 512, "temperature": 0, "do_sample": False, "until": []}
