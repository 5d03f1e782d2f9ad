"""Errors that inspect_ai shows as a message, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spy_plugin.errors import SpyBenchError


@contextmanager
def shown() -> Iterator[None]:
    """Raise our errors as inspect's own, which it shows as they are.

    Raises:
        PrerequisiteError: in place of a `SpyBenchError`, which stays where inspect has no such one.
    """
    try:
        yield
    except SpyBenchError as error:
        try:
            from inspect_ai._util.error import PrerequisiteError
        except ImportError:
            raise error from None
        raise PrerequisiteError(f"spy-bench: error: {error}") from None
