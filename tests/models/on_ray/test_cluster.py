"""How much of a cluster an engine takes."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest

from spy_plugin.models.on_ray.cluster import EngineSize, capacity, engine_size

HEAD = {"CPU": 4.0}
WORKER = {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("backend", "vllm", "nodes", "arguments", "engines", "size", "room"),
    [
        ("vllm", "0.32.0", [HEAD, WORKER], {}, None, EngineSize(1, 1), 4),
        ("transformers", "", [HEAD, WORKER], {}, None, EngineSize(1, 1), 4),
        (
            *("vllm", "0.32.0", [WORKER, WORKER], {"tensor_parallel_size": 3}, None),
            *(EngineSize(3, 3), 2),
        ),
        (
            *("vllm", "0.32.0", [WORKER, WORKER]),
            {"tensor_parallel_size": 4, "pipeline_parallel_size": 2},
            *(None, EngineSize(8, 8, across_nodes=True), 1),
        ),
        # Nodes with GPUs may join later, but not where vLLM is built for CPUs.
        ("vllm", "0.32.0", [HEAD], {}, None, EngineSize(1, 1), 0),
        ("vllm", "0.32.0+cpu", [HEAD, HEAD], {}, None, EngineSize(0, 4), 2),
        ("vllm", "", [HEAD, HEAD], {}, 4, EngineSize(0, 2), 4),
        ("transformers", "0.32.0", [HEAD], {}, 8, EngineSize(0, 1), 4),
    ],
)
def test_an_engine_takes_gpus_or_else_its_part_of_the_cores(
    backend: str,
    vllm: str,
    nodes: list[dict[str, float]],
    arguments: dict[str, Any],
    engines: int | None,
    size: EngineSize,
    room: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = pytest.importorskip("ray")
    found = [{"Alive": True, "Resources": node} for node in nodes]
    gone = {"Alive": False, "Resources": WORKER}
    monkeypatch.setattr(ray, "nodes", lambda: [*found, gone])

    def version(name: str) -> str:
        if not vllm:
            raise metadata.PackageNotFoundError(name)
        return vllm

    monkeypatch.setattr(metadata, "version", version)
    assert engine_size(backend, arguments, engines) == size
    assert capacity(size) == room
