"""JSON files are read strictly; errors name the file, the field and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from spy_plugin.errors import DataError
from spy_plugin.files.json import read_json, read_json_as


class Point(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    x: int
    names: dict[str, str] = {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", r"is not JSON, or was cut short \("),
        ('{"x": 1, "x": 2}', "duplicate key 'x'"),
        ('{"x": NaN}', "NaN is not a JSON number"),
        ('{"x": -1e999}', "-1e999 is too large a number"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", r"must be an object, not \[1\]"),
        ("{}", '"x" is missing'),
        ('{"x": 1, "y": 2}', '"y" is an unknown key'),
        ('{"x": "7"}', "\"x\" must be a whole number, not '7'"),
        ('{"x": 1, "names": {"a": 2}}', '"names.a" must be text, not 2'),
    ],
)
def test_wrong_files_are_refused_in_plain_words(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(text)
    with pytest.raises(DataError, match=problem) as caught:
        read_json_as(Point, path, "Write it again.")
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(" Write it again.")


def test_missing_and_undecodable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\)\. Look\."):
        read_json(tmp_path / "none.json", "Look.")
    (tmp_path / "f.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"is not UTF-8\."):
        read_json(tmp_path / "f.json", "Look.")


def test_a_long_value_is_cut_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"x": "' + "s" * 1000 + '"}')
    with pytest.raises(DataError) as caught:
        read_json_as(Point, path, "Look.")
    assert len(str(caught.value)) < len(str(path)) + 120


def test_a_right_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"x": 1, "names": {"a": "b"}}')
    assert read_json_as(Point, path, "Look.") == Point(x=1, names={"a": "b"})
