"""`hf:` models take what the host passes to a model because of its name."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import pytest

from tests.conftest import needs

pytestmark = needs("vlmeval")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The checkpoints that were loaded, with their options."""
    from spy_plugin.compat.torchvision import declare_missing_ops

    declare_missing_ops()
    from spy_plugin.hosts.vlmeval import models

    found: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(models, "Checkpoint", lambda name, **options: found.append((name, options)))
    return found


@pytest.mark.parametrize("use_vllm", [False, True])
def test_the_hosts_use_vllm_does_not_reach_transformers(
    use_vllm: bool, built: list[tuple[str, dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    from spy_plugin.hosts.vlmeval.models import HFChat

    with caplog.at_level(logging.WARNING):
        HFChat("Qwen/Qwen2-VL-2B-Instruct", use_vllm=use_vllm, batch_size=2)
    assert built == [("Qwen/Qwen2-VL-2B-Instruct", {"batch_size": 2})]
    assert ("--use-vllm has no effect on Qwen/Qwen2-VL-2B-Instruct" in caplog.text) == use_vllm


def test_the_host_passes_no_other_option_by_name() -> None:
    """A change there would fail in `hf:` models of these names, as `use_vllm` did."""
    from spy_plugin.compat.torchvision import declare_missing_ops

    declare_missing_ops()
    from vlmeval import inference

    code = inspect.getsource(inference.infer_data)
    assert code.count("kwargs = {") == 2
    assert "kwargs = {'use_vllm': use_vllm}" in code
