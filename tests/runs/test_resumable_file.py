"""`ResumableFile` refuses what it could not resume."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from spy_plugin.benchmark.records import Answer
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter
from spy_plugin.runs.resumable_file import ResumableFile
from spy_plugin.runs.stored_records import StoredRecords


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


@pytest.mark.parametrize("in_order", [True, False])
def test_an_interrupt_at_any_moment_of_a_write_loses_nothing_that_was_written(
    tmp_path: Path, in_order: bool
) -> None:
    """Whether `close` puts the file in order, which writes it again, or leaves it as it is."""
    keys = ["a", "b", "c"] if in_order else ["b", "a", "c"]

    def interrupted_at(moment: int) -> bool:
        path, passed = tmp_path / f"{moment}.jsonl", 0

        def interrupt(frame: FrameType, event: str, _: object) -> Any:
            nonlocal passed
            if event == "line":
                passed += 1
                if passed == moment:
                    raise KeyboardInterrupt
            return interrupt

        interrupted = False
        with ResumableFile(path, Answer, "answers", order=["a", "b", "c"]) as file:
            for key in keys[:2]:
                file.add(Answer(key, "text"))
            before = sys.gettrace()
            sys.settrace(interrupt)
            try:
                file.add(Answer("c", "text"))
            except KeyboardInterrupt:
                interrupted = True
            finally:
                sys.settrace(before)
            written = path.read_bytes().count(b"\n")
        kept = set(StoredRecords(path, Answer, "sample_id"))
        assert kept >= set(keys[:written])
        return interrupted

    moment = 1
    while interrupted_at(moment):
        moment += 1
    assert moment > 20


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("keep me")
    with pytest.raises(DataError, match=r"taken.x\.jsonl: cannot be written") as caught:
        ResumableFile(tmp_path / "taken" / "x.jsonl", Answer, "answers")
    assert "kept" not in str(caught.value)
    assert (tmp_path / "taken").read_text() == "keep me"
