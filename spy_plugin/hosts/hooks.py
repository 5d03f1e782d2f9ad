"""What every hook into a host shares: the off switch, waiting for an import, stepping aside.

A host must start even where this package is broken, so this module imports nothing of it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

VARIABLE = "SPY_BENCH_PLUGIN"
"""Environment variable that keeps SPY-Bench out of every host: ``SPY_BENCH_PLUGIN=off``."""

Callback = Callable[[ModuleType], None]

_logged: set[str] = set()


def switched_off() -> bool:
    """Return whether the user wants the hosts without SPY-Bench."""
    return os.environ.get(VARIABLE, "").lower() in ("off", "0", "no", "false")


@contextmanager
def stepping_aside(action: str) -> Generator[None, None, None]:
    """Log what is raised inside, once per `action`, and let the host continue without it.

    Args:
        action: Completes "SPY-Bench could not ...".
    """
    try:
        yield
    except Exception:
        if action not in _logged:
            _logged.add(action)
            logger.exception("SPY-Bench could not %s; the host continues without it", action)


def after_import(name: str, callback: Callback) -> None:
    """Call `callback` with the module `name`: now if it is loaded, otherwise once it is.

    A module that is being imported at this moment counts as loaded, as Python sees it. What
    `callback` raises is logged and does not reach the importing code.
    """

    def call(module: ModuleType) -> None:
        with stepping_aside(f"hook into {name}"):
            callback(module)

    module = sys.modules.get(name)
    if module is not None:
        call(module)
    else:
        sys.meta_path.insert(0, _Finder(name, call))


class _Finder:
    """Finds one module through the other finders, and removes itself first."""

    def __init__(self, name: str, callback: Callback) -> None:
        self._name, self._callback = name, callback

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            with stepping_aside(f"hook into {name}"):
                self._extend(spec.loader)
        return spec

    def _extend(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._callback(module)

        loader.exec_module = exec_module
