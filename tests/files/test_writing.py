"""Files are replaced whole, and written by one run at a time."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import filelock
import pytest

from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter, read_jsonl
from spy_plugin.files.writing import (
    FileLock,
    naming,
    replace_folder,
    replacing,
    write_atomically,
)
from tests.interrupts import interrupted

HOLD = """
import sys, time
from pathlib import Path
from spy_plugin.files.jsonl import JsonlWriter
writer = JsonlWriter(Path(sys.argv[1]))
writer.write({"by": "the other"})
print("locked", flush=True)
time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def other_run(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A file, and another process that is writing it."""
    path = tmp_path / "a.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield path, process
    process.kill()
    process.wait()


def test_writing_atomically_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "f.json"
    write_atomically(path, "one")
    write_atomically(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def refuse(*_: object, **__: object) -> None:
    """As a file system that is mounted read-only."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(_[0]))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it takes no files")
@pytest.mark.parametrize("write", [lambda path: write_atomically(path, ""), FileLock])
def test_a_folder_that_takes_no_files_names_the_file_that_was_asked_for(
    write: Callable[[Path], object],
) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write(Path("/proc/f.json"))
    assert caught.value.filename == "/proc/f.json"


def test_a_read_only_file_system_names_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)  # which refuses before it looks
    with pytest.raises(OSError, match="Read-only") as caught:
        write_atomically(tmp_path / "f.json", "")
    assert caught.value.filename == str(tmp_path / "f.json")


def test_a_name_in_a_temporary_folder_is_that_of_the_folder_asked_for() -> None:
    for named, expected in (("/a/.b.tmp/c/d", "/a/b"), ("/a/.b.tmpx", "/a/.b.tmpx")):
        with pytest.raises(OSError, match="no") as caught, naming(Path("/a/b"), Path("/a/.b.tmp")):
            raise OSError(errno.EACCES, "no", named)
        assert caught.value.filename == expected


def test_a_copy_that_fails_names_the_folder_asked_for() -> None:
    error = OSError(errno.ENOSPC, "No space left")
    # As `shutil.copyfile` names both of its files.
    error.filename, error.filename2 = Path("/source/page.css"), Path("/a/.b.tmp/page.css")
    with pytest.raises(OSError, match="No space left"), naming(Path("/a/b"), Path("/a/.b.tmp")):
        raise error
    assert (error.filename, error.filename2) == ("/a/b", None)


@pytest.mark.parametrize("named", ["", ".f.json.{}.tmp"], ids=["no file", "the temporary file"])
def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path: Path, named: str) -> None:
    path = tmp_path / "f.json"
    about = [str(tmp_path / named.format(os.getpid()))] if named else []
    with pytest.raises(OSError, match="No space") as refused, replacing(path):
        raise OSError(errno.ENOSPC, "No space left", *about)
    assert refused.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_or_of_none_keeps_its_name(tmp_path: Path) -> None:
    for error in (OSError(errno.ENOSPC, "full", "other"), OSError(errno.ECONNRESET, "reset")):
        name = error.filename
        with pytest.raises(OSError) as refused, naming(tmp_path):  # noqa: PT011
            raise error
        assert refused.value.filename == name


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    write_atomically(path, "one", private=True)
    assert path.stat().st_mode & 0o777 == 0o600
    write_atomically(path, "two")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    write_atomically(path, "three", private=True)
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_appended_files_are_private_and_on_the_disk_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    path = tmp_path / "a.jsonl"
    with JsonlWriter(path) as writer:
        writer.write({"a": 1})
        assert synced == []
    assert synced == [path.stat().st_ino]
    assert path.stat().st_mode & 0o777 == 0o600
    with JsonlWriter(path) as writer:
        writer.replace([{"a": 2}])
    assert path.stat().st_mode & 0o777 == 0o600
    assert synced[1:] == [path.stat().st_ino]


def test_a_failed_replacement_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    write_atomically(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["f.json"]


def test_a_file_that_another_process_writes_is_refused(
    other_run: tuple[Path, subprocess.Popen[str]],
) -> None:
    path, _ = other_run
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"a\.jsonl: is being written by another run"):
        JsonlWriter(path)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_the_lock_of_a_killed_run_is_taken_over(
    other_run: tuple[Path, subprocess.Popen[str]],
) -> None:
    path, process = other_run
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert names(path.parent) == [".a.jsonl.lock", "a.jsonl"]
    with JsonlWriter(path) as writer:
        writer.write({"by": "the next"})
    assert [row["by"] for _, row in read_jsonl(path)] == ["the other", "the next"]
    assert names(path.parent) == ["a.jsonl"]


def test_a_finished_run_leaves_no_lock_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with JsonlWriter(path) as writer:
        writer.write({"a": 1})
        with pytest.raises(DataError, match="is being written by another run"):
            FileLock(path)
        assert names(tmp_path) == [".a.jsonl.lock", "a.jsonl"]
    assert names(tmp_path) == ["a.jsonl"]
    writer = JsonlWriter(path)
    writer.replace([{"a": 2}])
    assert names(tmp_path) == ["a.jsonl"]
    assert [row for _, row in read_jsonl(path)] == [{"a": 2}]


def test_a_file_that_cannot_be_opened_is_not_left_locked(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "missing" / "a.jsonl")
    with pytest.raises(FileNotFoundError):
        JsonlWriter(tmp_path / "a.jsonl")
    assert names(tmp_path) == ["a.jsonl"]


def test_a_file_that_a_full_disk_cut_is_not_left_locked(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path, limits = tmp_path / "a.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        writer = JsonlWriter(path)
        writer.write({"a": 1})
        with pytest.raises(OSError, match="too large"):
            writer.write({"a": "x" * 200})
        with pytest.raises(OSError, match="too large"):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == ["a.jsonl"]
    with JsonlWriter(path) as writer:
        writer.write({"a": 2})
    assert [row for _, row in read_jsonl(path)] == [{"a": 1}, {"a": 2}]


def test_a_folder_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(DataError, match=r"a\.jsonl: is not a regular file"):
        JsonlWriter(tmp_path / "a.jsonl")
    assert names(tmp_path) == ["a.jsonl"]


def test_a_file_system_without_locks_is_written_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with caplog.at_level(logging.WARNING), JsonlWriter(tmp_path / "a.jsonl") as writer:
        writer.write({"a": 1})
    assert "no locks here" in caplog.text
    assert [row for _, row in read_jsonl(tmp_path / "a.jsonl")] == [{"a": 1}]


def test_other_failures_to_lock_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(OSError, match="Permission denied"):
        JsonlWriter(tmp_path / "a.jsonl")


@pytest.mark.parametrize("there", [True, False])
def test_an_interrupt_at_any_moment_leaves_one_of_two_folders_whole(
    tmp_path: Path, there: bool
) -> None:
    for moment in count(1):
        place, new, old = (tmp_path / f"{moment}-{name}" for name in ("place", "new", "old"))
        for folder, text in ((place, "earlier"), (new, "later"))[0 if there else 1 :]:
            folder.mkdir()
            (folder / "file").write_text(text)
        came = interrupted(lambda names=(place, new, old): replace_folder(*names), moment)
        if there or not came:
            text = (place / "file").read_text()
            assert text == ("earlier" if new.exists() else "later")
        if not came:
            break
    assert moment > 5
    assert not old.exists()
