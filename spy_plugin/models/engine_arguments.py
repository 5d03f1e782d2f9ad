"""Engine arguments: which change what a model says, and how many GPUs they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spy_plugin.models.base import ModelSetupError

_SPEED_ONLY = {
    "vllm": """
        tensor_parallel_size pipeline_parallel_size data_parallel_size distributed_executor_backend
        disable_custom_all_reduce gpu_memory_utilization kv_cache_memory_bytes cpu_offload_gb
        swap_space max_num_seqs max_num_batched_tokens block_size enforce_eager
        enable_prefix_caching mm_processor_cache_gb limit_mm_per_prompt disable_log_stats
        download_dir hf_token
    """,
    "transformers": """
        device device_map max_memory offload_folder low_cpu_mem_usage cache_dir local_files_only
        token
    """,
}
"""Backend -> arguments about memory, parallelism, placement and downloads (and a hub's key).

They are not part of a model's identity: a run may be resumed, and a judge's cache reused, under
other ones. Every argument that is not listed is taken to change the text.
"""


def text_settings(backend: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that may change a reply, sorted by name."""
    speed_only = _SPEED_ONLY[backend].split()
    return {name: value for name, value in sorted(arguments.items()) if name not in speed_only}


def parallel_sizes(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """The tensor and pipeline parallel sizes of a vLLM engine; their product is its GPUs.

    Raises:
        ModelSetupError: one is not a whole number from 1 up.
    """
    tensor, pipeline = (
        _size(arguments, f"{kind}_parallel_size") for kind in ("tensor", "pipeline")
    )
    return tensor, pipeline


def _size(arguments: Mapping[str, Any], name: str) -> int:
    size = arguments.get(name, 1)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ModelSetupError(f"{name} must be a whole number >= 1, not {size!r}.")
    return size
