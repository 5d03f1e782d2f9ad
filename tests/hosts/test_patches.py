"""A function of a host is replaced once, reversibly, and only if it is the one we know."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from spy_plugin.hosts import patches
from spy_plugin.hosts.patches import Patch

HOST = "spy_bench_fake_host"


class Host(ModuleType):
    """A module with a function and a class, as a host has them."""

    def __init__(self) -> None:
        super().__init__(HOST)

        def greet(name: str, mark: str = "!") -> str:
            return f"hello {name}{mark}"

        self.greet: Callable[..., str] = greet
        self.number = 3
        self.Manager = type("Manager", (), {"load": lambda self, path=None: path})


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    module = Host()
    monkeypatch.setitem(sys.modules, HOST, module)
    monkeypatch.setattr(patches, "_reported", set())
    return module


def louder(original: Callable[..., str]) -> Callable[..., str]:
    def greet(name: str, *args: Any) -> str:
        return original(name, *args).upper()

    return greet


GREET = Patch(f"{HOST}:greet", ("name",), "nobody is greeted loudly")


def test_a_second_application_changes_nothing_and_undoing_restores(host: Host) -> None:
    original = host.greet
    assert not GREET.applied
    assert GREET.apply(louder)
    once = host.greet
    assert GREET.apply(louder)
    assert host.greet is once
    assert host.greet("ada") == "HELLO ADA!"
    assert GREET.applied
    GREET.undo()
    GREET.undo()
    assert host.greet is original


def test_a_method_of_a_class_can_be_replaced(host: Host) -> None:
    patch = Patch(f"{HOST}:Manager.load", ("self", "path"), "nothing")
    assert patch.apply(lambda original: lambda self, path=None: [original(self, path)])
    assert host.Manager().load("a") == ["a"]


@pytest.mark.parametrize(
    ("target", "parameters", "state"),
    [
        (f"{HOST}:greet", ("person",), "takes (name: 'str', mark: 'str' = '!') -> 'str'"),
        (f"{HOST}:greet", ("name", "mark", "tone"), "takes (name"),
        (f"{HOST}:wave", ("name",), "does not exist"),
        (f"{HOST}:number", ("name",), "takes None"),
        (f"{HOST}:Missing.load", ("self",), "does not exist"),
        (f"{HOST}_gone.sub:greet", ("name",), "does not exist"),
    ],
)
def test_an_unknown_function_is_left_alone_with_one_warning_that_names_it(
    target: str,
    parameters: tuple[str, ...],
    state: str,
    host: Host,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = dict(vars(host))
    patch = Patch(target, parameters, "nobody is greeted loudly")
    for _ in range(2):
        assert not patch.apply(louder)
    assert not patch.applied
    patch.undo()
    assert vars(host) == before
    (record,) = caplog.records
    message = record.getMessage()
    assert target.replace(":", ".") in message
    assert state in message
    assert message.endswith(": nobody is greeted loudly")


def test_a_module_that_lacks_a_dependency_is_an_error_of_its_own(
    host: Host, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spy_bench_other_host.py").write_text("import spy_bench_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="spy_bench_not_installed"):
        Patch("spy_bench_other_host:greet", (), "nothing").apply(louder)
