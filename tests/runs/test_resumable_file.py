"""`ResumableFile` refuses what it could not resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from spy_plugin.benchmark.records import Answer
from spy_plugin.errors import DataError
from spy_plugin.runs.resumable_file import ResumableFile


def test_a_compressed_file_is_refused_before_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    with pytest.raises(DataError, match=r"without \.gz"):
        ResumableFile(path, Answer, "answers")
    assert not list(tmp_path.iterdir())
