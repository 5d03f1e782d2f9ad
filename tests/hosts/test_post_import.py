"""A function runs once after an import, and other imports are unaffected."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from spy_plugin.hosts.post_import import after_import


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
