"""A private home for the hosts."""

from __future__ import annotations

import pytest

from tests.hosts.lmms.harness import Harness


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Return a runner of lmms-eval."""
    return Harness(tmp_path_factory.mktemp("lmms"))
