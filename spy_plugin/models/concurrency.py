"""Many requests at a time for code that is not asynchronous: a lazy iterable in, results out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import TypeVar

import anyio
from anyio.abc import ObjectSendStream
from anyio.from_thread import start_blocking_portal

from spy_plugin.errors import SpyBenchError

Client = TypeVar("Client")
Item = TypeVar("Item")
Result = TypeVar("Result")

_HOPELESS = (
    "AuthenticationError",
    "PermissionDeniedError",
    "NotFoundError",
    "(ConnectError",
    "error 401",
)
"""Failures that repeat for every request: wrong key, no access, unknown model or server."""

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

    with start_blocking_portal() as portal:
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
    """

    def __init__(self, name: str, check: str, error: type[SpyBenchError]) -> None:
        self.name, self.check, self.error = name, check, error
        self.failed_in_a_row, self.any_success = 0, False

    def count(self, failure: str | None) -> None:
        """Count one result; `failure` is None for a success.

        Raises:
            SpyBenchError: nothing worked yet and the failure is a hopeless one, the first 20
                requests failed, or later 100 in a row.
        """
        if failure is None:
            self.failed_in_a_row, self.any_success = 0, True
            return
        self.failed_in_a_row += 1
        if not self.any_success and any(name in failure for name in _HOPELESS):
            raise self.error(f"{self.name} cannot be asked: {failure}. Check {self.check}.")
        limit = _TOO_MANY_IN_A_ROW if self.any_success else _TOO_MANY_AT_FIRST
        if self.failed_in_a_row >= limit:
            raise self.error(
                f"{self.failed_in_a_row} requests to {self.name} failed in a row, the last with "
                f"{failure}. What was done so far is kept; run again when the server is well."
            )
