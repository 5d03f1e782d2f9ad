"""Work in threads that nobody waits for once the work is no longer wanted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield (item, `work(item)`) as each is finished, in any order.

    Closing the iterator, as an interrupt does, drops what is not begun and waits for nothing that
    is. The threads are daemons: an executor's would be waited for at the end of Python, and the
    locks of an executor stay locked if a signal comes while the main thread holds one.

    Raises:
        Exception: what `work` raised first.
    """
    todo: SimpleQueue[tuple[Item] | None] = SimpleQueue()
    done: SimpleQueue[tuple[Item, Result] | BaseException] = SimpleQueue()

    def run() -> None:
        while (each := todo.get()) is not None:
            try:
                done.put((each[0], work(each[0])))
            except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
                done.put(error)

    count = 0
    for item in items:
        todo.put((item,))
        count += 1
    try:
        for _ in range(min(threads, count)):
            Thread(target=run, name=__name__, daemon=True).start()
        for _ in range(count):
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        with suppress(Empty):
            while True:
                todo.get_nowait()
        for _ in range(threads):
            todo.put(None)
