"""Which engine arguments change what a model says, and which only where and how fast it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
