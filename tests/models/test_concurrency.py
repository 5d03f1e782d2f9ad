"""`models.concurrency`: many requests at a time, and an end at any moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import count

import pytest

from spy_plugin.models import concurrency
from spy_plugin.models.concurrency import run_concurrently
from tests.interrupts import interrupted


async def double(_: None, item: int) -> int:
    return 2 * item


def doubled(number: int) -> Iterator[int]:
    return run_concurrently(range(number), nullcontext, double, concurrency=2)


def loops() -> list[threading.Thread]:
    """The threads of event loops that run."""
    return [thread for thread in threading.enumerate() if thread.name == concurrency.__name__]


def all_end() -> bool:
    """Whether every loop ends by itself within a minute."""
    end = time.monotonic() + 60
    while loops() and time.monotonic() < end:
        time.sleep(0.01)
    return not loops()


def test_each_result_comes_once() -> None:
    results = run_concurrently(range(50), nullcontext, double, concurrency=8)
    assert sorted(results) == [2 * item for item in range(50)]
    assert loops() == []


def test_an_error_ends_the_run_after_what_was_finished() -> None:
    async def half(_: None, item: int) -> int:
        if item == 3:
            raise ValueError("odd")
        return item // 2

    results = run_concurrently([0, 2, 4, 3, 6], nullcontext, half, concurrency=1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="odd"):
        next(results)
    assert loops() == []


def test_a_closed_run_has_ended() -> None:
    results = doubled(1000)
    assert next(results) in (0, 2)
    results.close()  # type: ignore[attr-defined]
    assert loops() == []


def test_an_interrupt_at_any_moment_ends_the_run() -> None:
    for moment in count(1):
        found: list[int] = []
        if not interrupted(lambda found=found: found.extend(doubled(4)), moment):
            break
        assert all_end()
    assert sorted(found) == [0, 2, 4, 6]
    assert moment > 20


@pytest.mark.parametrize("started", [False, True])
def test_an_interrupt_while_the_loop_starts_ends_the_run(
    started: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python may then not know whether the thread runs."""

    class Interrupted(threading.Thread):
        def start(self) -> None:
            if started:
                super().start()
            raise KeyboardInterrupt

    monkeypatch.setattr(concurrency, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(doubled(1000))
    assert all_end()


def test_a_second_interrupt_at_any_moment_of_the_end_is_not_held_up() -> None:
    """What it leaves undone ends with the process, which waits for nothing."""
    code = "from tests.models.test_concurrency import interrupt_twice; interrupt_twice()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def interrupt_twice() -> None:
    for moment in count(1):
        results = doubled(10_000)
        next(results)
        if not interrupted(results.close, moment):  # type: ignore[attr-defined]
            break
    assert moment > 5
