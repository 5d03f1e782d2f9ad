"""JSONL files are read line by line, or refused with the line."""

from __future__ import annotations

import gzip
import os
from codecs import BOM_UTF8
from pathlib import Path

import pytest

from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter, pick_lines, read_jsonl


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text('{"a": 1}\n{oops\n{"a": 2}\n')
    with pytest.raises(DataError, match=r"v\.jsonl, line 2: not JSON"):
        list(read_jsonl(path, allow_torn_tail=True))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[1]", "line 1: a JSON list, not an object"),
        ("[" * 100_000, r"line 1: not JSON \("),
        ('{"a": ', r"line 1: not JSON \("),
    ],
)
def test_a_line_that_is_not_an_object_is_an_error(line: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=problem):
        list(read_jsonl(path, allow_torn_tail=True))


def test_a_torn_last_line_is_left_out_only_where_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text('{"a": 1}\n\n{"a": ')
    assert list(read_jsonl(path, allow_torn_tail=True)) == [(1, {"a": 1})]
    with pytest.raises(DataError, match="line 3: not JSON"):
        list(read_jsonl(path))


def test_byte_order_marks_are_left_out_wherever_files_were_put_together(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_bytes(BOM_UTF8 + b'{"a": 1}\n\n' + BOM_UTF8 + b'{"a": "\xef\xbb\xbf"}\n')
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (3, {"a": "\ufeff"})]
    path.write_bytes(BOM_UTF8 + b'{"a": 1}\n' + BOM_UTF8 + b'{"a"')
    assert list(read_jsonl(path, allow_torn_tail=True)) == [(1, {"a": 1})]
    with pytest.raises(DataError, match="line 2: not JSON"):
        list(read_jsonl(path))


def test_a_cut_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-20])
    with pytest.raises(DataError, match="cannot be decoded"):
        list(read_jsonl(path))


def test_a_long_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text('{"a": 1}\n{"a": "' + "x" * 200_000)
    before = path.read_text()
    JsonlWriter(path).close()
    assert path.read_text() == before  # a file that is only opened stays as it is
    with JsonlWriter(path) as writer:
        assert writer.cut_torn_tail()
        assert not writer.cut_torn_tail()
    assert path.read_text() == '{"a": 1}\n'


@pytest.mark.parametrize("tail", ['{"a": "言'.encode()[:-1], b"\0\0\0\0", b'{"a": "\xff"}'])
def test_a_tail_that_is_no_text_is_torn(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + tail)
    assert list(read_jsonl(path, allow_torn_tail=True)) == [(1, {"a": 1})]
    with pytest.raises(DataError, match="line 2"):
        list(read_jsonl(path))


@pytest.mark.parametrize("line", [b'{"a": "\xff"}', b"[" * 100_000, b"\0\0"])
def test_a_broken_line_in_the_middle_is_refused_by_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    with pytest.raises(DataError, match="line 2"):
        list(read_jsonl(path, allow_torn_tail=True))


@pytest.mark.parametrize("name", ["v.jsonl", "v.jsonl.gz"])
def test_some_lines_are_picked_by_their_number(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    content = b"one\n\nthree\nfour"
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert list(pick_lines(path, [4, 1, 3, 3, 9])) == [(1, b"one\n"), (3, b"three\n"), (4, b"four")]
    assert not list(pick_lines(path, []))


def test_what_cannot_be_read_is_named_when_lines_are_picked(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 9)[:-6])
    with pytest.raises(DataError, match=r"v\.jsonl\.gz: cannot be decoded"):
        list(pick_lines(tmp_path / "v.jsonl.gz", [99]))
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read"):
        list(pick_lines(tmp_path / "none.jsonl", [1]))


@pytest.mark.skipif(os.name == "nt", reason="POSIX devices")
def test_a_device_is_not_written_and_nothing_is_left_beside_it() -> None:
    before = set(Path("/dev").iterdir())
    with pytest.raises(DataError, match="is not a regular file"):
        JsonlWriter(Path("/dev/null"))
    assert set(Path("/dev").iterdir()) == before
