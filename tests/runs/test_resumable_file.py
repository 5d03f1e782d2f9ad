"""`ResumableFile` refuses what it could not resume."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import Answer
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter
from spy_plugin.runs.resumable_file import ResumableFile


def test_a_compressed_file_is_refused_before_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    with pytest.raises(DataError, match=r"without \.gz"):
        ResumableFile(path, Answer, "answers")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("records", [0, 1])
def test_a_full_disk_is_said_and_only_what_is_there_is_called_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with ResumableFile(tmp_path / "x.jsonl", Answer, "answers") as file:
        for number in range(records):
            file.add(Answer(str(number), "text"))
        monkeypatch.setattr(JsonlWriter, "write", full)
        with pytest.raises(DataError, match="No space left on device") as caught:
            file.add(Answer("later", "text"))
    assert ("the answers up to here are kept" in str(caught.value)) == bool(records)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("keep me")
    with pytest.raises(DataError, match=r"taken.x\.jsonl: cannot be written") as caught:
        ResumableFile(tmp_path / "taken" / "x.jsonl", Answer, "answers")
    assert "kept" not in str(caught.value)
    assert (tmp_path / "taken").read_text() == "keep me"
