"""`spy-bench doctor --for ray`: the cluster that `--ray` finds, and whether its nodes agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spy_plugin.files.text import one_line
from spy_plugin.models.base import ModelSetupError

if TYPE_CHECKING:
    from spy_plugin.models.on_ray.nodes import Node


def check_ray() -> tuple[str, list[tuple[str, str]]]:
    """Look at the cluster.

    Returns:
        What there is, in one line, and each problem with its fix.
    """
    from spy_plugin.models.on_ray.cluster import (
        AUTO,
        TO_GET_IN,
        Connection,
        NoClusterError,
        require_ray,
    )

    require_ray()
    try:
        connection = Connection(AUTO)
    except NoClusterError:
        return "no cluster here; --ray local uses this machine", []
    except ModelSetupError as error:
        fix = f"{TO_GET_IN}; HOST:PORT in RAY_ADDRESS names another cluster"
        problem = one_line(error.__cause__ or error)
        return "a cluster that cannot be used from here", [(problem, fix)]
    from ray.exceptions import RayError

    from spy_plugin.models.on_ray.nodes import differences, look_at_nodes, this_command

    with connection:
        try:
            nodes = look_at_nodes()
        except RayError as error:
            problem = f"a node does not answer ({one_line(error)})"
            fix = "ray status, and restart the node that does not answer"
            return "a cluster that does not answer", [(problem, fix)]
    fix = "pip install the same versions on every node"
    found = differences([this_command(), *nodes])
    return describe(nodes), [(difference, fix) for difference in found]


def describe(nodes: list[Node]) -> str:
    """Describe a cluster in one line."""
    gpus, cpus = sum(node.gpus for node in nodes), sum(node.cpus for node in nodes)
    versions = ", ".join(
        f"{name} {version or 'not installed'}" for name, version in nodes[0].versions.items()
    )
    number = f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}"
    return f"cluster of {number}, {gpus} GPUs, {cpus} cores; {versions}"
