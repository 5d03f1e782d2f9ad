"""Records round-trip through a file, and a file survives a killed writer."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from spy_plugin.benchmark.record_parsing import from_json, read_records
from spy_plugin.benchmark.records import (
    Answer,
    Outcome,
    Sample,
    Scenario,
    Verdict,
    to_json,
    verdict_of,
)
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter, read_jsonl
from spy_plugin.files.writing import write_atomically

SAMPLE = Sample("s", "1", "a49_phone", 1, Scenario("x", 0), "q", "i.png", "Which?", "P", "phone")
VERDICT = verdict_of(SAMPLE, Outcome.REJECT, answer="No \u2028 {}", judge="rules", raw="reject")


@pytest.mark.parametrize(
    "record",
    [SAMPLE, VERDICT, replace(VERDICT, scenario=None), Answer("s", "a", turns=("b", "c"))],
)
def test_records_come_back_from_json(record: Sample | Verdict | Answer) -> None:
    row = json.loads(json.dumps(to_json(record)))
    assert from_json(type(record), row, path="f", line=1) == record


def test_the_last_turn_is_scored() -> None:
    assert Answer("s", "first").scored == "first"
    assert Answer("s", "first", turns=("second", "third")).scored == "third"


def test_a_torn_last_line_is_cut_off_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    with JsonlWriter(path) as writer:
        writer.write(to_json(VERDICT))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:25])
    assert list(read_records(Verdict, path)) == [VERDICT]
    with JsonlWriter(path) as writer:
        writer.write(to_json(VERDICT))
    assert path.read_bytes() == whole * 2


def test_a_file_of_nothing_but_a_torn_line_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text('{"sample')
    with JsonlWriter(path) as writer:
        writer.write(to_json(VERDICT))
    assert list(read_records(Verdict, path)) == [VERDICT]


def test_text_that_is_no_unicode_does_not_stop_a_run(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    with JsonlWriter(path) as writer:
        writer.write(to_json(replace(VERDICT, answer="lone \ud800 surrogate")))
    assert "surrogate" in next(read_records(Verdict, path)).answer


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text('{"a": 1}\n{oops\n{"a": 2}\n')
    with pytest.raises(DataError, match=r"v\.jsonl, line 2: not JSON"):
        list(read_jsonl(path, allow_torn_tail=True))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"sample_id": "s"}, '"response" is missing'),
        ({"sample_id": 7, "response": "x"}, '"sample_id" is a number, not text'),
        ({"sample_id": "s", "response": None}, '"response" is null, not text'),
        ({"sample_id": "s", "response": "x", "outcome": "maybe"}, "outcome 'maybe' is none of"),
        ({"sample_id": "s", "response": "x", "outcome": []}, "is none of respond"),
        ({"sample_id": "s", "response": "x", "turns": "yz"}, '"turns" is no list of texts'),
    ],
)
def test_wrong_records_are_refused_in_plain_words(
    row: dict[str, object], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"sample_id": "r", "response": "x"}\n' + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=re.escape(problem)) as caught:
        list(read_records(Answer, path))
    assert "a.jsonl, line 2: is no answer: " in str(caught.value)
    assert "__init__" not in str(caught.value)


def test_a_scenario_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(json.dumps(to_json(VERDICT) | {"scenario": {"id": "x"}}) + "\n")
    with pytest.raises(DataError, match='"scenario" is no object with "id" and "is_privacy"'):
        list(read_records(Verdict, path))


def test_a_cut_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-20])
    with pytest.raises(DataError, match="cannot be decoded"):
        list(read_jsonl(path))


def test_writing_atomically_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "f.json"
    write_atomically(path, "one")
    write_atomically(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]
