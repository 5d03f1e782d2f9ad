"""Many requests at a time for code that is not asynchronous: a lazy iterable in, results out.

The requests run in an event loop of their own in a thread of their own, so that a caller may sit
in any thread, or inside a running loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

Client = TypeVar("Client")
Item = TypeVar("Item")
Result = TypeVar("Result")


def run_async(
    items: Iterable[Item],
    client: Callable[[], AbstractAsyncContextManager[Client]],
    work: Callable[[Client, Item], Awaitable[Result]],
    *,
    concurrency: int,
    check: Callable[[Result], None] | None = None,
) -> Iterator[Result]:
    """Yield `work(client, item)` of each item as soon as it is there, in any order.

    An item is drawn when one of the workers is free: there is no barrier, and the iterable may be
    long. Closing the iterator ends the workers.

    Args:
        client: Makes what all workers share, in their loop.
        concurrency: Number of workers.
        check: Called with each result after it was handed over; what it raises ends the run.

    Raises:
        Exception: whatever `work`, `check` or the iterable raised. What was yielded before stands.
    """
    run = _Run(iter(items), client, work, concurrency, check)
    thread = threading.Thread(target=run.main, name="requests", daemon=True)
    thread.start()
    try:
        while (item := run.results.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        run.stop()
        thread.join()


class _Run(Generic[Client, Item, Result]):
    """One call of `run_async`: its thread, its loop, its workers."""

    def __init__(
        self,
        todo: Iterator[Item],
        client: Callable[[], AbstractAsyncContextManager[Client]],
        work: Callable[[Client, Item], Awaitable[Result]],
        concurrency: int,
        check: Callable[[Result], None] | None,
    ) -> None:
        self.todo, self.client, self.work = todo, client, work
        self.concurrency, self.check = concurrency, check
        self.results: queue.SimpleQueue[tuple[Result] | BaseException | None] = queue.SimpleQueue()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[None] | None = None
        self.started = threading.Event()

    def main(self) -> None:
        """Body of the thread: whatever ends it, the reader is told."""
        try:
            asyncio.run(self.run())
        except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
            self.results.put(error)
        finally:
            self.started.set()
            self.results.put(None)

    def stop(self) -> None:
        """End the workers, if the reader has had enough; harmless after the end."""
        self.started.wait()
        if self.loop is not None and self.task is not None and not self.loop.is_closed():
            try:
                self.loop.call_soon_threadsafe(self.task.cancel)
            except RuntimeError:  # closed in between
                return

    async def run(self) -> None:
        """Keep a bounded number of workers at work until nothing is left."""
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        self.started.set()
        async with self.client() as client:
            workers = [asyncio.ensure_future(self.go_on(client)) for _ in range(self.concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def go_on(self, client: Client) -> None:
        """Work on one item after another until there is none left."""
        for item in self.todo:
            result = await self.work(client, item)
            self.results.put((result,))
            if self.check is not None:
                self.check(result)
