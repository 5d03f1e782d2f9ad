"""Many requests at a time for code that is not asynchronous: a lazy iterable in, results out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from typing import TypeVar

import anyio
from anyio.abc import ObjectSendStream
from anyio.from_thread import start_blocking_portal

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

    Args:
        client: Makes what all workers share, in their loop.
        concurrency: Number of workers.
        check: Called with each result after it was yielded; what it raises ends the run.

    Raises:
        Exception: any exception of `work`, `check` or the iterable; earlier results stay valid.
    """
    todo = iter(items)

    async def run(results: ObjectSendStream[Result]) -> None:
        errors: list[Exception] = []
        async with results, client() as shared, anyio.create_task_group() as group:

            async def worker() -> None:
                try:
                    for item in todo:
                        result = await work(shared, item)
                        await results.send(result)
                        if check is not None:
                            check(result)
                except Exception as error:  # noqa: BLE001 - raised below, not in a group of errors
                    errors.append(error)
                    group.cancel_scope.cancel()

            for _ in range(concurrency):
                group.start_soon(worker)
        if errors:
            raise errors[0]

    # Started in another thread, where no Ctrl-C arrives: anyio would wait for ever for a loop whose
    # start was interrupted. On the way out `starter` ends first, then the portal is closed.
    with ExitStack() as stack, ThreadPoolExecutor(1) as starter:
        portal = starter.submit(stack.enter_context, start_blocking_portal()).result()
        # Without a buffer: workers wait for a reader that is slower than they are.
        send, receive = anyio.create_memory_object_stream[Result]()
        running = portal.start_task_soon(run, send)
        try:
            with suppress(anyio.EndOfStream):
                while True:
                    yield portal.call(receive.receive)
            running.result()
        finally:
            running.cancel()
            portal.call(receive.aclose)


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
            raise self.error(
                f"{self.failed_in_a_row} requests to {self.name} failed in a row, the last with "
                f"{failure}. What was done so far is kept; run again when the server is well."
            )
