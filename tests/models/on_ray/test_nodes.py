"""What `spy-bench doctor --for ray` says of a cluster; `test_ray_model` asks a real one."""

from __future__ import annotations

import socket

import pytest

from spy_plugin.cli.ray_check import check_ray, describe
from spy_plugin.models.base import ModelSetupError
from spy_plugin.models.on_ray.cluster import Connection
from spy_plugin.models.on_ray.nodes import Node, differences

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


def test_a_cluster_that_does_not_let_us_in_is_a_problem_and_none_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert check_ray() == ("no cluster here; --ray local uses this machine", [])

    def refuse(*args: object, **options: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster at 127.0.0.1:1")

    monkeypatch.setattr(ray, "init", refuse)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        found, [(problem, fix)] = check_ray()
        with pytest.raises(ModelSetupError, match="cannot be used from here") as refused:
            Connection("auto")
    assert found == "a cluster that cannot be used from here"
    assert problem == "Failed to connect to Ray cluster at 127.0.0.1:1"
    advice = "use the Python and Ray of its nodes; if it has a token, set RAY_AUTH_MODE=token and "
    advice += "its token here, too"
    assert fix == f"{advice}; HOST:PORT in RAY_ADDRESS names another cluster"
    assert str(refused.value) == (
        f"the Ray cluster at auto cannot be used from here ({problem}). To get in, {advice}."
    )


def test_a_ray_that_does_not_start_here_is_not_called_a_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = pytest.importorskip("ray")
    for variable in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(variable, "0")  # so that what is changed is put back

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("Failed to start GCS")

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(ModelSetupError) as refused:
        Connection("local")
    assert str(refused.value) == (
        "Ray cannot start on this machine (Failed to start GCS). Look at the logs in /tmp/ray, at "
        "the memory and disk that are free, and at RAY_... variables."
    )
