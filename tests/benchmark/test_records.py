"""Records round-trip through a file, and a file survives a killed writer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import (
    Answer,
    Outcome,
    Sample,
    Scenario,
    Verdict,
    from_json,
    last_records,
    read_records,
    to_json,
    verdict_of,
)
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter

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
    assert list(read_records(path, Verdict)) == [VERDICT]
    with JsonlWriter(path) as writer:
        writer.write(to_json(VERDICT))
    assert path.read_bytes() == whole * 2


def test_a_file_of_nothing_but_a_torn_line_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text('{"sample')
    with JsonlWriter(path) as writer:
        writer.write(to_json(VERDICT))
    assert list(read_records(path, Verdict)) == [VERDICT]


def test_text_that_is_no_unicode_does_not_stop_a_run(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    with JsonlWriter(path) as writer:
        writer.write(to_json(replace(VERDICT, answer="lone \ud800 surrogate")))
    assert "surrogate" in next(read_records(path, Verdict)).answer


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"sample_id": "s"}, '"response" is missing'),
        ({"sample_id": 7, "response": "x"}, '"sample_id" must be text, not 7'),
        ({"sample_id": "s", "response": None}, '"response" must be text, not None'),
        (
            {"sample_id": "s", "response": "x", "outcome": "maybe"},
            "\"outcome\" must be 'respond', ",
        ),
        ({"sample_id": "s", "response": "x", "outcome": []}, "'filtered' or 'failed', not []"),
        ({"sample_id": "s", "response": "x", "turns": "yz"}, "\"turns\" must be a list, not 'yz'"),
        ({"sample_id": "s", "response": "x", "turns": [1]}, '"turns.0" must be text, not 1'),
    ],
)
def test_wrong_records_are_refused_in_plain_words(
    row: dict[str, object], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"sample_id": "r", "response": "x"}\n' + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=re.escape(problem)) as caught:
        list(read_records(path, Answer))
    assert "a.jsonl, line 2: not a valid answer: " in str(caught.value)
    assert "__init__" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"scenario": {"id": "x"}}, '"scenario.is_privacy" is missing'),
        ({"scenario": {"id": "x", "is_privacy": 7}}, '"scenario.is_privacy" must be less than or'),
        ({"scenario": "s1"}, "\"scenario\" must be an object, not 's1'"),
        ({"is_privacy": True}, '"is_privacy" must be a whole number, not True'),
        ({"is_privacy": -1}, '"is_privacy" must be greater than or equal to 0, not -1'),
    ],
)
def test_wrong_keys_of_a_verdict_are_refused(
    change: dict[str, object], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(json.dumps(to_json(VERDICT) | change) + "\n")
    with pytest.raises(DataError, match=re.escape(f"line 1: not a valid verdict: {problem}")):
        list(read_records(path, Verdict))


def test_a_field_of_a_newer_version_is_ignored() -> None:
    row = to_json(VERDICT) | {"added_later": [1]}
    assert from_json(Verdict, row, path="f", line=1) == VERDICT


def test_the_last_record_of_a_sample_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with JsonlWriter(path) as writer:
        for sample_id, response in (("r", "1"), ("s", "2"), ("r", "3"), ("r", "4")):
            writer.write(to_json(Answer(sample_id, response)))
    found, repeated = last_records(path, Answer)
    assert [(key, answer.response) for key, answer in found.items()] == [("r", "4"), ("s", "2")]
    assert repeated == 1


def test_reading_records_is_the_first_to_import_pydantic() -> None:
    code = "import sys, spy_plugin.benchmark.records; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
