"""`models.concurrency`: many requests at a time, and an end at any moment."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from anyio.abc import BlockingPortal
from anyio.from_thread import start_blocking_portal

from spy_plugin.models import concurrency
from spy_plugin.models.concurrency import run_concurrently


async def double(_: None, item: int) -> int:
    return 2 * item


def test_each_result_comes_once() -> None:
    results = run_concurrently(range(50), nullcontext, double, concurrency=8)
    assert sorted(results) == [2 * item for item in range(50)]


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_a_ctrl_c_while_the_loop_starts_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()

    @contextmanager
    def interrupted() -> Iterator[BlockingPortal]:
        time.sleep(0.2)  # the main thread waits by now
        os.kill(os.getpid(), signal.SIGINT)
        try:
            with start_blocking_portal() as portal:
                yield portal
        finally:
            closed.set()

    monkeypatch.setattr(concurrency, "start_blocking_portal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(run_concurrently([1], nullcontext, double, concurrency=1))
    assert closed.is_set()
