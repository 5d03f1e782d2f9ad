"""A private home for the hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.lmms.harness import Harness


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """Return a runner of lmms-eval."""
    harness = Harness(tmp_path_factory.mktemp("lmms"))
    yield harness
    harness.close()
