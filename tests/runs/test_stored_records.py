"""Records stay in their file, in which they are found again."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import Answer, Outcome, dump_jsonl, last_records
from spy_plugin.errors import DataError
from spy_plugin.runs.resumable_file import ResumableFile
from spy_plugin.runs.stored_records import StoredRecords

KEYS = ["a", "b", "c"]
TEXTS = {"a": "one \u2028 line", "b": "é" * 5000, "c": "[cut"}


def opened(path: Path) -> ResumableFile[Answer]:
    return ResumableFile(path, Answer, "answers", order=KEYS)


def test_records_are_found_before_and_after_the_file_is_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n" + dump_jsonl([Answer("c", "old"), Answer("b", TEXTS["b"])]).encode())
    with opened(path) as file:
        file.add(Answer("a", "", Outcome.FAILED, "500"))
        assert file.records["a"].error == "500"
        file.add(Answer("c", TEXTS["c"]))
        file.add(Answer("a", TEXTS["a"]))
        assert list(file.records) == ["c", "b", "a"]
        assert {key: file.records[key].response for key in KEYS} == TEXTS
    assert list(file.records) == KEYS
    assert [answer.response for answer in file.records.values()] == list(TEXTS.values())
    assert file.records["b"].response == TEXTS["b"]
    assert last_records(path, Answer) == (dict(file.records), 0)


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    with opened(tmp_path / "x.jsonl") as file:
        file.add(Answer("a", "text"))
        assert file.records.get("b") is None
        with pytest.raises(KeyError):
            file.records["b"]
        file.discard("a")
        assert "a" not in file.records
    assert (tmp_path / "x.jsonl").read_bytes() == b""


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    keys = [f"{number}/distractors/private" for number in range(2000)]
    with ResumableFile(tmp_path / "x.jsonl", Answer, "answers", order=keys) as file:
        tracemalloc.start()
        for key in reversed(keys):
            file.add(Answer(key, f"{key} shows 12. " * 20))
        grown, _ = tracemalloc.get_traced_memory()
        file.close()
        assert sum(len(answer.response) for answer in file.records.values()) > 1_000_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert grown < 200 * len(keys)
    assert peak < 400 * len(keys)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps files that are open")
@pytest.mark.parametrize("change", ["cut", "shift", "replace", "remove"])
def test_a_file_that_another_program_changed_is_refused_and_stays(
    tmp_path: Path, change: str
) -> None:
    path = tmp_path / "x.jsonl"
    file = opened(path)
    file.add(Answer("b", "text"))
    file.add(Answer("a", "text"))
    content = path.read_bytes()
    changed = {
        "cut": content[:60],
        "shift": b"\n" + content,
        "replace": content.replace(b'"a"', b'"c"'),
    }.get(change)
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    with pytest.raises(DataError, match=r"x\.jsonl.*(another program|cannot be read)"):
        list(file.records.values())
    with pytest.raises(DataError, match=r"x\.jsonl.*(another program|cannot be read)"):
        file.close()
    assert not path.exists() if changed is None else path.read_bytes() == changed
    assert not list(tmp_path.glob(".*"))


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"sample_id": "a", "response": ""}\n{"sample_id": "b"}\n')
    with pytest.raises(DataError, match=r"x\.jsonl, line 2: not a valid answer"):
        StoredRecords(tmp_path / "x.jsonl", Answer, "sample_id")
