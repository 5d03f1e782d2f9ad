"""What `spy-bench doctor --for ray` says of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from spy_plugin.cli.ray_check import check_ray, describe
from spy_plugin.models.on_ray.nodes import Node, differences
from tests.conftest import needs

VERSIONS = {
    "python": "3.11.7",
    "ray": "2.60.0",
    "vllm": "",
    "transformers": "5.23.0",
    "spy-bench": "0.1.0",
}
NODES = [
    Node("10.0.0.1", 16, 2, VERSIONS),
    Node("10.0.0.2", 16, 2, VERSIONS | {"vllm": "0.32.0"}),
]


def test_versions_that_differ_are_named_with_their_nodes() -> None:
    assert differences([NODES[0], NODES[0]]) == []
    assert differences(NODES) == [
        "vllm differs: not installed on 10.0.0.1; 0.32.0 on 10.0.0.2",
    ]
    assert describe(NODES).startswith("cluster of 2 nodes, 4 GPUs, 32 cores; python 3.11.7, ray")


@needs("ray")
def test_the_doctor_sees_the_cluster_that_there_is(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    found, problems = check_ray()
    assert found.startswith("cluster of 2 nodes, 0 GPUs, 2 cores; python 3")
    assert problems == []
