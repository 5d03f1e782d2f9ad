"""Many requests at a time for code that is not asynchronous: a lazy iterable in, results out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

import anyio

from spy_plugin.errors import SpyBenchError
from spy_plugin.models.base import Fault

Client = TypeVar("Client")
Item = TypeVar("Item")
Result = TypeVar("Result")

_TOO_MANY_AT_FIRST, _TOO_MANY_IN_A_ROW = 20, 100


def run_concurrently(
    items: Iterable[Item],
    client: Callable[[], AbstractAsyncContextManager[Client]],
    work: Callable[[Client, Item], Awaitable[Result]],
    *,
    concurrency: int,
    check: Callable[[Result], None] | None = None,
) -> Iterator[Result]:
    """Yield `work(client, item)` of each item as soon as it is finished, in any order.

    The requests run in an event loop of their own in a thread of their own, so the caller may be
    in any thread, or inside a running loop. An item is drawn when one of the workers is free: the
    iterable may be long, and there is no barrier. Closing the iterator ends the workers.

    An interrupt may come at any moment: the two threads share no lock that it could leave locked,
    as those of futures are. The thread is a daemon, which a second interrupt does not wait for.

    Args:
        client: Makes what all workers share, in their loop.
        concurrency: Number of workers.
        check: Called with each result after it was yielded; what it raises ends the run.

    Raises:
        Exception: any exception of `work`, `check` or the iterable; earlier results stay valid.
    """
    todo = iter(items)
    results: SimpleQueue[tuple[Result, Callable[[], object]] | BaseException | None] = SimpleQueue()
    enders: list[Callable[[], object]] = []
    begun = closed = False

    async def run() -> None:
        errors: list[Exception] = []
        loop = asyncio.get_running_loop()
        with anyio.CancelScope() as scope:
            enders.append(partial(loop.call_soon_threadsafe, scope.cancel))
            if closed:
                return
            async with client() as shared, anyio.create_task_group() as group:

                async def worker() -> None:
                    try:
                        for item in todo:
                            result = await work(shared, item)
                            taken = anyio.Event()  # workers wait for a slower reader
                            results.put((result, partial(loop.call_soon_threadsafe, taken.set)))
                            await taken.wait()
                            if check is not None:
                                check(result)
                    except Exception as error:  # noqa: BLE001 - raised below, not in a group of errors
                        errors.append(error)
                        group.cancel_scope.cancel()

                for _ in range(concurrency):
                    group.start_soon(worker)
        if errors:
            raise errors[0]

    def run_loop() -> None:
        try:
            anyio.run(run)
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            results.put(error)
        else:
            results.put(None)

    thread = Thread(target=run_loop, name=__name__, daemon=True)
    try:
        thread.start()
        begun = True
        while (found := results.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            result, take = found
            with suppress(RuntimeError):  # the loop has ended: another worker met an error
                take()
            yield result
    finally:
        closed = True
        with suppress(RuntimeError):  # the loop has ended
            for end in enders:
                end()
        if begun:  # else an interrupt may have kept it from beginning, and nobody knows
            thread.join()


class FailureBudget:
    """Ends a run whose requests keep failing.

    Args:
        name: Who is asked, for the message.
        check: What to check if the first request was refused, for the message.
        error: What is raised.
        worked_before: A request to it has succeeded in an earlier sitting.
    """

    def __init__(
        self, name: str, check: str, error: type[SpyBenchError], *, worked_before: bool = False
    ) -> None:
        self.name, self.check, self.error = name, check, error
        self.failed_in_a_row, self.any_success = 0, False
        self.worked_before = worked_before

    def count(self, fault: Fault | None, failure: str = "") -> None:
        """Count one result.

        Args:
            fault: None for a success.
            failure: What went wrong, for the message.

        Raises:
            SpyBenchError: nothing worked in this sitting and every request would fail; the first 20
                requests failed; or later 100 in a row. Requests that fail each time, whoever else
                is answered, count only as long as nothing ever worked.
        """
        if fault is None:
            self.failed_in_a_row, self.any_success = 0, True
            return
        if not self.any_success and fault is Fault.SETUP:
            raise self.error(f"{self.name} cannot be asked: {failure}. Check {self.check}.")
        worked = self.any_success or self.worked_before
        if worked and fault is Fault.REQUEST:
            return
        self.failed_in_a_row += 1
        limit = _TOO_MANY_IN_A_ROW if worked else _TOO_MANY_AT_FIRST
        if self.failed_in_a_row >= limit:
            kept = "What was done so far is kept; run" if worked else "Run"
            raise self.error(
                f"{self.failed_in_a_row} requests to {self.name} failed in a row, the last with "
                f"{failure}. {kept} again when the server is well."
            )
