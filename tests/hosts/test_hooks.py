"""A function runs once after an import, and whatever it raises does not reach the host."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from spy_plugin.hosts import hooks
from spy_plugin.hosts.hooks import after_import, stepping_aside, switched_off


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that was not imported yet."""
    name = "spy_bench_test_module"
    (tmp_path / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    return name


def test_the_function_sees_the_finished_module(module: str) -> None:
    seen: list[ModuleType] = []
    after_import(module, seen.append)
    assert seen == []
    imported = importlib.import_module(module)
    assert seen == [imported]
    assert seen[0].value == 1
    importlib.reload(imported)
    assert len(seen) == 1


def test_a_loaded_module_is_handed_over_at_once(module: str) -> None:
    imported = importlib.import_module(module)
    seen: list[ModuleType] = []
    after_import(module, seen.append)
    assert seen == [imported]


def test_two_functions_may_wait_for_one_module(module: str) -> None:
    seen: list[str] = []
    after_import(module, lambda _: seen.append("first"))
    after_import(module, lambda _: seen.append("second"))
    importlib.import_module(module)
    assert sorted(seen) == ["first", "second"]


def test_a_missing_module_is_missing_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    after_import("spy_bench_no_such_module", lambda _: None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("spy_bench_no_such_module")


def test_what_the_function_raises_is_logged_and_the_import_succeeds(
    module: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "_logged", set())

    def fail(_: ModuleType) -> None:
        raise RuntimeError("broken on purpose")

    after_import(module, fail)
    assert importlib.import_module(module).value == 1
    after_import(module, fail)  # loaded by now: called at once
    assert caplog.text.count("broken on purpose") == 2  # the error and its traceback, once
    assert f"could not hook into {module}" in caplog.text


def test_a_failure_is_logged_once_and_an_interrupt_is_not_caught(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "_logged", set())
    for _ in range(2):
        with stepping_aside("do this"):
            raise ValueError("why")
    assert [record.getMessage() for record in caplog.records] == [
        "SPY-Bench could not do this; the host continues without it"
    ]
    with pytest.raises(KeyboardInterrupt), stepping_aside("do this"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("value", "off"), [("off", True), ("0", True), ("", False), ("on", False)])
def test_one_variable_switches_us_off(
    value: str, off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hooks.VARIABLE, value)
    assert switched_off() is off
