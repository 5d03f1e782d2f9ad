"""A small release, and a server to talk to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from spy_plugin.benchmark.loading import load_release
from spy_plugin.benchmark.samples import Benchmark
from tests.hosts.lmms.release import write_release

pytest.importorskip("lmms_eval")


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small benchmark in the official layout."""
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def benchmark(release: Path) -> Benchmark:
    """The same benchmark, opened."""
    return load_release(release)


@pytest.fixture(scope="module")
def http() -> Iterator[HTTPServer]:
    """One server for the tests of a module."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it prints every request
    with HTTPServer(threaded=True) as server:
        yield server
