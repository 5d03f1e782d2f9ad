"""Our verdict files and the official ones are read alike, or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.records import Disclosure, Outcome, Verdict, to_json
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter
from spy_plugin.scoring.verdicts import parse_verdict_text, read_rows, read_table, read_verdicts

ROW: dict[str, Any] = {
    "benchmark_id": "1",
    "label": "a49_phone",
    "is_privacy": 1,
    "image_path": "i.png",
    "eval_resp": "Reject.",
}


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("reject", Outcome.REJECT),
        ("It RESPONDS, so: Respond", Outcome.RESPOND),
        ("It does not respond: reject", Outcome.REJECT),
        ("", Outcome.UNJUDGED),
        ("abstain", Outcome.UNJUDGED),
    ],
)
def test_a_judges_words_are_read_as_the_paper_reads_them(text: str, outcome: Outcome) -> None:
    assert parse_verdict_text(text) is outcome


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_own_files_are_found_by_their_key(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    verdict = Verdict("s", "1", "a49_phone", 1, None, "q", "i.png", Outcome.FILTERED)
    with JsonlWriter(path) as writer:
        writer.write(to_json(verdict))
    assert read_verdicts(path) == [verdict]


OWN: dict[str, Any] = {name: ROW[name] for name in ROW if name != "eval_resp"} | {
    "outcome": "respond",
    "answer": "Hana",
    "scenario": None,
}


def test_a_disclosure_is_kept_and_left_out_where_it_was_not_asked_for(tmp_path: Path) -> None:
    said = Disclosure("yes", "0123", "abcd", "m", raw="Yes.")
    verdict = Verdict("s", "1", "a49_phone", 1, None, "q", "i.png", Outcome.RESPOND)
    asked = replace(verdict, disclosure=said)
    assert "disclosure" not in to_json(verdict)
    path = write(tmp_path / "own.jsonl", to_json(asked))
    assert read_verdicts(path) == [asked]
    assert [row.disclosure for row in read_rows(path).rows] == [said]
    assert [row.disclosure for row in read_rows(path, truths={}).rows] == [said]


@pytest.mark.parametrize("said", [{"told": "maybe"}, {}, "yes", {"told": "yes", "raw": 7}])
def test_another_disclosure_than_ours_is_refused_with_its_line(tmp_path: Path, said: Any) -> None:
    path = write(tmp_path / "own.jsonl", OWN, OWN | {"disclosure": said, "is_privacy": 0})
    for read in (read_verdicts, read_rows):
        with pytest.raises(DataError, match=r"line 2.*not a valid verdict: \"disclosure"):
            read(path)


def test_another_key_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", ROW | {"second": "respond"})
    assert read_verdicts(path, key="second")[0].outcome is Outcome.RESPOND


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_privacy": 2}, '"is_privacy" must be less than or equal to 1, not 2'),
        ({"is_privacy": True}, '"is_privacy" must be a whole number, not True'),
        ({"is_privacy": None}, '"is_privacy" is missing'),
        ({"label": ""}, '"label" is missing'),
        ({"label": 7}, '"label" must be text, not 7'),
        ({"benchmark_id": ""}, '"benchmark_id" is missing'),
        ({"label": "a0_safe"}, "unknown label"),
        ({"eval_resp": None}, '"eval_resp" is missing'),
        ({"eval_resp": 3}, '"eval_resp" must be text, not 3'),
        ({"scenario": "s1"}, '"scenario" must be an object'),
        (
            {"scenario": {"id": "s1", "is_privacy": 7}},
            '"scenario.is_privacy" must be less than or equal to 1, not 7',
        ),
        ({"outcome": "perhaps"}, "\"outcome\" must be 'respond', .* or 'failed', not 'perhaps'"),
    ],
)
def test_wrong_rows_are_refused_with_the_line(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "f.jsonl", ROW, ROW | {"benchmark_id": "2"} | change)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert "f.jsonl, line 2" in str(caught.value)


def test_a_file_without_verdicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no verdicts"):
        read_table(write(tmp_path / "f.jsonl"))
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "none.jsonl")
