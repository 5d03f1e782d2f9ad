"""Numpy's work on all processors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

_MOST_THREADS = 4
"""Each keeps memory of its own, about 60 MiB on 32,700 verdicts of 42 runs."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return `work(item)` of each item in order, computed in a few threads.

    Numpy computes without the interpreter's lock. Meanwhile its matrix products take one thread
    each: with as many as there are processors in every thread, they would wait for one another.
    """
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
