"""Servers that misbehave: in this process, and in one of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.models.faulty_process import ServerProcess
from tests.models.faulty_server import FaultyServer, Script, servers
from tests.small_benchmark import benchmark, pictures, samples  # noqa: F401


@pytest.fixture(scope="session")
def server_process() -> Iterator[ServerProcess]:
    server = ServerProcess()
    yield server
    server.close()


@pytest.fixture
def server(server_process: ServerProcess) -> ServerProcess:
    """A server that behaves, and has forgotten what it was asked."""
    server_process.command()
    return server_process


@pytest.fixture
def serve() -> Iterator[Callable[[Script], FaultyServer]]:
    """Servers in this process, for what only a function can say; all are stopped at the end."""
    with servers() as start:
        yield start
