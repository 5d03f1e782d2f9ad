"""Two nodes of one core each on this machine, and pictures to talk about."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spy_plugin.models.base import Conversation, Decoding
from spy_plugin.models.options import ModelOptions
from tests.conftest import ROOT

from .fake_engine import FakeEngine

NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster whose nodes can import these tests, as Ray's own tests make one."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(ROOT))
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=NODE)
    made.add_node(**NODE)
    yield made
    made.shutdown()
    patch.undo()


@pytest.fixture(scope="session")
def talks(tmp_path_factory: pytest.TempPathFactory) -> list[Conversation]:
    """Eight pictures with five conversations each."""
    root = tmp_path_factory.mktemp("talks")
    for number in range(8):
        Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(root / f"{number}.png")
    return [
        Conversation(f"{number}-{ask}", root / f"{number}.png", (f"question {ask}",))
        for number in range(8)
        for ask in range(5)
    ]


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., FakeEngine]:
    """Make an engine that leaves its processes' numbers in `tmp_path`."""

    def make(**arguments: Any) -> FakeEngine:
        options = ModelOptions(engine_args={"pids": str(tmp_path), **arguments})
        return FakeEngine("fake", Decoding(), options)

    return make


def running(folder: Path) -> list[int]:
    """The numbers of the engines' processes that still run."""
    found = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    return [pid for pid in found if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" and os.getpid() != pid
