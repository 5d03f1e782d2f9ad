"""Grouped rows on two processes give the steps of one process that accumulates two batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from spy_plugin.compat.torchvision import declare_missing_ops

declare_missing_ops()

from tests.trl_ext.script_runs import (  # noqa: E402
    launch,
    losses,
    prepare,
    saved_history,
    train,
    words,
)

GROUPED = {
    "prefix_sharing": "image",
    "max_batch_tokens": 450,  # two rows; the ready limit lets one process take all four at once
    "train_sampling_strategy": "sequential",  # shuffled batches are dealt by number of processes
    "save_strategy": "steps",
    "save_steps": 3,
}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero2", "zero3", "fsdp2"])
def test_two_processes_take_the_steps_of_one(strategy: str, tmp_path: Path) -> None:
    if strategy.startswith("zero"):
        pytest.importorskip("deepspeed")
    prepared: Any = prepare(tmp_path)
    trainer = train("nca_priv", words(prepared, GROUPED, output_dir=tmp_path / "one"))
    launch(strategy, "nca_priv", words(prepared, GROUPED, output_dir=tmp_path / "two"))
    history = saved_history(tmp_path / "two")
    for name in ("loss", "rewards/margins", "logps/chosen_1", "completion_tokens", "grad_norm"):
        expected = losses(trainer.state.log_history, name)
        assert len(expected) == 3
        assert losses(history, name) == pytest.approx(expected, rel=2e-4, abs=1e-6), name
