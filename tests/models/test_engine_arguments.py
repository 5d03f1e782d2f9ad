"""Engine arguments that say how many GPUs an engine takes."""

from __future__ import annotations

from typing import Any

import pytest

from spy_plugin.models.base import ModelSetupError
from spy_plugin.models.build import build_model
from spy_plugin.models.engine_arguments import parallel_sizes
from spy_plugin.models.options import ModelOptions


def test_sizes_are_one_unless_given() -> None:
    assert parallel_sizes({}) == (1, 1)
    assert parallel_sizes({"tensor_parallel_size": 4, "pipeline_parallel_size": 2}) == (4, 2)


@pytest.mark.parametrize("ray", [None, "local"])
@pytest.mark.parametrize("size", ["two", None, 0, -1, 2.5, True, [2]])
def test_a_size_that_is_not_one_is_refused_before_anything_starts(
    size: Any, ray: str | None
) -> None:
    for kind in ("tensor", "pipeline"):
        options = ModelOptions(engine_args={f"{kind}_parallel_size": size}, ray=ray)
        with pytest.raises(ModelSetupError) as refused:
            build_model("vllm", "spy-tiny-base", options)
        assert str(refused.value) == (
            f"{kind}_parallel_size must be a whole number >= 1, not {size!r}."
        )
