"""`ResumableFile` refuses what it could not resume."""

from __future__ import annotations

import errno
import os
from itertools import count
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import Answer
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter
from spy_plugin.runs.resumable_file import ResumableFile
from spy_plugin.runs.stored_records import StoredRecords
from tests.interrupts import interrupted


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

    for moment in count(1):
        path = tmp_path / f"{moment}.jsonl"
        with ResumableFile(path, Answer, "answers", order=["a", "b", "c"]) as file:
            for key in keys[:2]:
                file.add(Answer(key, "text"))
            came = interrupted(lambda file=file: file.add(Answer("c", "text")), moment)
            written = path.read_bytes().count(b"\n")
        kept = set(StoredRecords(path, Answer, "sample_id"))
        assert kept >= set(keys[:written])
        if not came:
            break
    assert moment > 20


def test_after_an_interrupt_while_a_file_is_put_in_order_it_is_whole_and_still_read(
    tmp_path: Path,
) -> None:
    for moment in count(1):
        path = tmp_path / f"{moment}.jsonl"
        with ResumableFile(path, Answer, "answers", order=["a", "b", "c"]) as file:
            for key in ("c", "a", "b"):
                file.add(Answer(key, key.upper()))
            came = interrupted(file.close, moment)
        whole = {key: Answer(key, key.upper()) for key in ("a", "b", "c")}
        assert dict(StoredRecords(path, Answer, "sample_id")) == whole
        assert {answer.sample_id: answer for answer in file.records.values()} == whole
        if not came:
            break
    assert moment > 60
    assert not list(tmp_path.glob(".*")), "neither a lock nor a temporary file is left"


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("keep me")
    with pytest.raises(DataError, match=r"taken.x\.jsonl: cannot be written") as caught:
        ResumableFile(tmp_path / "taken" / "x.jsonl", Answer, "answers")
    assert "kept" not in str(caught.value)
    assert (tmp_path / "taken").read_text() == "keep me"
