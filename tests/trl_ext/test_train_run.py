"""The benchmark of the whole command: what it reads from a run's output."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks.train_run import read_log

STEP = (
    "{{'loss': '2.7', 'learning_rate': '3e-06', 'prefix_sharing/tokens_saved': '0.94', "
    "'epoch': '{}'}}"
)
LINES = [
    (4.0, "INFO trl_ext.scripts._device: chosen for a GPU of 140 GiB: bf16 True"),
    (
        6.0,
        "INFO trl_ext.prefix_sharing.dataset: 320 rows of 40 pictures: 40 batches per epoch, 4 per "
        "step on each of 1 processes, 32.0 rows per step on average",
    ),
    (20.0, "INFO trl_ext.prefix_sharing.reference: reference of 320 training rows: 8.0 s"),
    (40.0, STEP.format(1)),
    (60.0, STEP.format(2)),
    (90.0, STEP.format(2.5)),  # a checkpoint lies between
    (100.0, STEP.format(3)),
    (101.0, "{'train_runtime': '81', 'epoch': '3'}"),
]


def test_rates_are_read_from_the_output():
    result = read_log(LINES, total=120.0)
    assert (result["rows"], result["pictures"], result["rows_per_step"]) == (320, 40, 32.0)
    assert result["reference_rows_per_second"] == pytest.approx(40)
    assert result["rows_per_second_all"] == pytest.approx(320 * 3 / 120)
    assert result["rows_per_second_steady"] == pytest.approx(16)
    assert result["tokens_saved"] == pytest.approx(0.94)
    assert result["chosen"] == "a GPU of 140 GiB: bf16 True"


def test_a_run_that_logged_nothing_has_no_rates():
    result = read_log([], total=10.0)
    assert result["rows_per_second_all"] == 0
    assert result["rows_per_second_steady"] is None
