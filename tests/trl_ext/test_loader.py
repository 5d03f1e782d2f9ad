"""A batch of rows costs little more than decoding and processing its picture once."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("trl")

from benchmarks.loader import measure


@pytest.mark.slow
@pytest.mark.parametrize("pillow", [False, True])
def test_a_batch_costs_at_most_two_and_a_half_times_its_picture(
    pillow: bool, tmp_path: Path
) -> None:
    result = measure(tmp_path, pictures=4, rows=8, rounds=5, pillow=pillow)
    assert result["rows"] == 8
    assert 1 < result["ratio"] <= 2.5, result
