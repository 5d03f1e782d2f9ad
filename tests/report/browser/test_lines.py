"""Lines in any order, of plain and gzipped files, with and without a last newline."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from spy_plugin.errors import DataError
from spy_plugin.report.browser import lines
from spy_plugin.report.browser.lines import LineFile

TEXT = '{"a": 1}\n\n{"a": "\N{PILE OF POO}\u2028"}\r\n{"a": 3}'


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
@pytest.mark.parametrize("block", [1, 7, 2**20])
def test_any_line_is_read_by_its_number(
    tmp_path: Path, name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_BLOCK", block)
    data = TEXT.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with LineFile(tmp_path / name) as file:
        assert len(file) == 4
        assert file.row(4) == {"a": 3}
        assert file.row(1) == {"a": 1}
        assert file.row(2) == {}
        assert file.row(3) == {"a": "\N{PILE OF POO}\u2028"}


def test_a_torn_end_is_empty_and_a_torn_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": \n{"a"')
    with LineFile(tmp_path / "x.jsonl") as file:
        assert file.row(3) == {}
        with pytest.raises(DataError, match=r"x\.jsonl, line 2: not JSON"):
            file.row(2)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        LineFile(tmp_path / "missing.jsonl")
    packed = gzip.compress(b"{}\n" * 999)
    for broken in (packed[:-9], packed[:12] + b"\xff" * 9 + packed[21:]):
        (tmp_path / "x.jsonl.gz").write_bytes(broken)
        with pytest.raises(DataError, match="cannot be read"):
            LineFile(tmp_path / "x.jsonl.gz")


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").touch()
    with LineFile(tmp_path / "x.jsonl") as file:
        assert len(file) == 0
