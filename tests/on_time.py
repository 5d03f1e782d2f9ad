"""Time limits that hold on a busy machine, too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Check that something takes less than so long on a machine with nothing else to do.

    The limit grows as this process gets less of a core: to twice as long if it gets half of one.
    """
    before = _waiting()
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    limit = seconds * max(before, _waiting())
    assert took < limit, f"it took {took:.1f} s; the limit is {limit:.1f} s on this machine now"


def _waiting() -> float:
    """How many seconds pass while this process works for one."""
    began, worked = time.perf_counter(), time.thread_time()
    while time.thread_time() - worked < 0.05:
        pass
    return (time.perf_counter() - began) / (time.thread_time() - worked)
