"""Arguments that are refused before anything is loaded; needs no vLLM."""

from __future__ import annotations

import sys

import pytest

from spy_plugin.errors import MissingDependencyError
from spy_plugin.models.base import Decoding, ModelSetupError
from spy_plugin.models.vllm_cpu import runs_in_one_process
from spy_plugin.models.vllm_engine import Engine
from spy_plugin.models.vllm_model import VLLMModel


def test_data_parallelism_in_one_engine_names_the_ways_that_work() -> None:
    with pytest.raises(ModelSetupError, match=r"--shard 1/N.*--data-parallel-size"):
        VLLMModel("m", Decoding(), engine_args={"data_parallel_size": 2})


def test_a_missing_vllm_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependencyError, match=r"spy-bench\[vllm\]"):
        VLLMModel("m", Decoding())


def test_a_missing_template_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelSetupError, match=r"none\.jinja cannot be read"):
        Engine("m", {"chat_template": "none.jinja"})


@pytest.mark.parametrize(
    ("arguments", "environment", "cores", "expected"),
    [
        ({"max_num_seqs": 8}, {}, 2, True),
        ({}, {}, 4, True),
        ({}, {}, 8, False),
        ({"distributed_executor_backend": "mp"}, {}, 2, False),
        ({"tensor_parallel_size": 2}, {}, 4, False),
        ({}, {"VLLM_CPU_OMP_THREADS_BIND": "0-1"}, 2, False),
    ],
)
def test_scheduler_and_model_share_a_process_on_few_cores_unless_the_user_chose(
    arguments: dict[str, object], environment: dict[str, str], cores: int, expected: bool
) -> None:
    assert runs_in_one_process(arguments, environment, cores) is expected
