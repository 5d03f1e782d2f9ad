"""`files.text`: text from elsewhere is made storable once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spy_plugin.errors import DataError
from spy_plugin.files.json import read_json
from spy_plugin.files.jsonl import read_jsonl
from spy_plugin.files.text import MAX_CHARACTERS, MAX_DEPTH, storable, storable_json


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("half \ud83d", "half \ufffd"),
        ("nul\0 escape\x1b[31m", "nul\ufffd escape\ufffd[31m"),
        ("C1 \x9b, not XML \uffff", "C1 \ufffd, not XML \ufffd"),
        ("whole \U0001f600, tab\t, line\r\n, é", "whole \U0001f600, tab\t, line\r\n, é"),
    ],
)
def test_what_cannot_be_stored_is_replaced(text: str, kept: str) -> None:
    assert storable(text) == kept
    storable(text).encode()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_called_by_its_name(encoding: str, tmp_path: Path) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    (tmp_path / "a.jsonl").write_text(mark + '{"a": 1}\n', encoding=encoding)
    (tmp_path / "latin.jsonl").write_bytes(b'{"a": "caf\xe9"}\n')
    with pytest.raises(DataError, match=r"line 1: UTF-16, not UTF-8: save it again as UTF-8"):
        list(read_jsonl(tmp_path / "a.jsonl"))
    with pytest.raises(DataError, match="is UTF-16, not UTF-8: save it again"):
        read_json(tmp_path / "a.jsonl", "Fix it.")
    with pytest.raises(DataError, match="line 1: not UTF-8"):
        list(read_jsonl(tmp_path / "latin.jsonl"))


def test_a_long_text_is_cut_and_says_so() -> None:
    text = storable("x" * (MAX_CHARACTERS + 5))
    assert len(text) == MAX_CHARACTERS
    assert text.endswith(f"x [cut here: {MAX_CHARACTERS + 5} characters]")
    assert storable(text) == text


def test_texts_inside_json_are_made_storable() -> None:
    assert storable_json({"\0": ["\ud800", {"a": "\x07"}, 1, None]}) == {
        "\ufffd": ["\ufffd", {"a": "\ufffd"}, 1, None]
    }


def test_a_line_of_a_file_is_made_storable(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"a": "\ud83d"}) + "\n", encoding="utf-8")
    assert list(read_jsonl(path)) == [(1, {"a": "\ufffd"})]


def test_json_that_is_nested_too_deep_is_refused_on_every_python() -> None:
    value: list[object] = []
    for _ in range(MAX_DEPTH):
        value = [value]
    assert storable_json(value) == value
    with pytest.raises(RecursionError, match="nested more than 200 deep"):
        storable_json([value])
