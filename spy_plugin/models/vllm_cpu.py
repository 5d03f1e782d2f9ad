"""vLLM's build for CPUs on a machine with few cores: let all of them compute.

By default vLLM runs the model in one process and the scheduler in another, which spins while the
model computes and occupies a core: half of a machine with two. In a single process the scheduler
does not wait, and every core computes: the same answers in two thirds of the time. On many cores
vLLM's default is better, because it binds threads to cores.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

FEW_CORES = 4
"""Up to here, the scheduler's core is a quarter of the machine or more."""

_ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"

_CHOSEN_BY_ARGUMENT = (
    "distributed_executor_backend",
    "tensor_parallel_size",
    "pipeline_parallel_size",
)
_CHOSEN_BY_VARIABLE = ("VLLM_CPU_OMP_THREADS_BIND", "VLLM_CPU_NUM_OF_RESERVED_CPU")

# A thread that spins while it waits takes time from other programs; after so many turns, some
# microseconds, it sleeps.
_WAIT = {"GOMP_SPINCOUNT": "3000"}
_WAIT_CHOSEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def runs_in_one_process(
    arguments: Mapping[str, Any], environment: Mapping[str, str], cores: int
) -> bool:
    """Whether scheduler and model share a process: on few cores, unless the user chose."""
    return (
        cores <= FEW_CORES
        and not any(name in arguments for name in _CHOSEN_BY_ARGUMENT)
        and not any(name in environment for name in _CHOSEN_BY_VARIABLE)
    )


@contextmanager
def fit_to_cores(arguments: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
    """Yield the arguments to load a model with; processes started meanwhile sleep while they wait.

    Args:
        arguments: Arguments of `vllm.LLM`; unchanged unless vLLM is its build for CPUs.
    """
    from vllm.platforms import current_platform

    chosen = dict(arguments)
    if not current_platform.is_cpu() or not runs_in_one_process(chosen, os.environ, _cores()):
        yield chosen
        return
    # The class, by its place: the name "uni" is taken for "mp" on CPUs.
    chosen["distributed_executor_backend"] = _ONE_PROCESS
    added = {} if any(name in os.environ for name in _WAIT_CHOSEN) else _WAIT
    os.environ.update(added)
    try:
        yield chosen
    finally:
        for name in added:
            os.environ.pop(name, None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
