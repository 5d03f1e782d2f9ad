"""The one way in which a function of a host is replaced: by name, once, reversibly, or not at all.

`docs/hosts.md` lists every `Patch`; a test compares.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

logger = logging.getLogger(__name__)

Function = Callable[..., Any]

_MARK = "spy_bench_patch"

_reported: set[str] = set()


@dataclass(frozen=True)
class Patch:
    """A function of another package that gets one of ours around it.

    Attributes:
        target: The function as ``module:attribute``, or ``module:class.attribute``.
        parameters: The names that its first parameters must have for our function to fit.
        loss: What a user loses where it is missing or does not fit; completes a sentence.
    """

    target: str
    parameters: tuple[str, ...]
    loss: str

    def apply(self, wrap: Callable[[Function], Function]) -> bool:
        """Replace the function by ``wrap(function)``; a second call changes nothing.

        Returns:
            False if the package has no such function, or one with other parameters: then nothing
            is changed and one warning names the function.
        """
        owner, name = self._owner()
        original = getattr(owner, name, None)
        if original is None or not self._fits(original):
            self._warn(original)
            return False
        if not self.applied:
            replacement = wraps(original)(wrap(original))
            setattr(replacement, _MARK, self.target)
            setattr(owner, name, replacement)
        return True

    def undo(self) -> None:
        """Restore the package's own function, if it is replaced."""
        owner, name = self._owner()
        if self.applied:
            setattr(owner, name, getattr(owner, name).__wrapped__)

    @property
    def applied(self) -> bool:
        """Whether the function is replaced now."""
        owner, name = self._owner()
        return getattr(getattr(owner, name, None), _MARK, "") == self.target

    def _owner(self) -> tuple[Any, str]:
        module, _, path = self.target.partition(":")
        *classes, name = path.split(".")
        try:
            owner: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):
                raise  # the module exists, but something that it imports does not
            return None, name
        for each in classes:
            owner = getattr(owner, each, None)
        return owner, name

    def _fits(self, function: Any) -> bool:
        signature = _signature(function)
        if signature is None:
            return False
        return tuple(signature.parameters)[: len(self.parameters)] == self.parameters

    def _warn(self, found: Any) -> None:
        if self.target in _reported:
            return
        _reported.add(self.target)
        state = "does not exist" if found is None else f"takes {_signature(found)}"
        logger.warning(
            "SPY-Bench does not patch %s, which %s in this version (tested: (%s, ...)): %s",
            self.target.replace(":", "."),
            state,
            ", ".join(self.parameters),
            self.loss,
        )


def _signature(function: Any) -> inspect.Signature | None:
    """Return what a function takes; None if it is not a function, or does not tell."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
