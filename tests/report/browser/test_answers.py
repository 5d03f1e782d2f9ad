"""What was said: from our files and the official scripts', thoughts and earlier turns apart."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome, dump_jsonl
from spy_plugin.files.jsonl import dump_rows
from spy_plugin.report import ReportOptions, browser
from spy_plugin.report.browser.columns import CHUNK
from spy_plugin.report.build import read_verdict_files
from spy_plugin.runs.answer_file import StoredAnswer
from tests.report.browser.data_files import receive
from tests.report.hostile import HOSTILE
from tests.report.made_up import verdicts, write_run


def written(runs: list[Path], out: Path) -> Path:
    """Write the browser of some runs; return its folder of data."""
    browser.write_browser(browser.browsed(read_verdict_files(runs, ReportOptions(), [])), out)
    return out / "data"


def test_texts_come_back_as_the_verdict_file_has_them(tmp_path: Path) -> None:
    texts = [HOSTILE[k % len(HOSTILE)] for k in range(50)]
    found = [
        replace(v, answer=text, raw=text[::-1], error=text * 2)
        for v, text in zip(verdicts(items=10), texts, strict=True)
    ]
    write_run(tmp_path / "run", "m", found)
    said = receive(written([tmp_path / "run"], tmp_path / "out") / "answers-0-0.js")
    for place, line in enumerate(said["line"]):
        assert said["answer"][place] == texts[line - 1]
        assert said["judge"][place] == texts[line - 1][::-1]
        assert said["error"][place] == texts[line - 1] * 2
    assert sorted(said["line"]) == list(range(1, 51))


def test_chunks_hold_a_thousand_samples_each(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "m", verdicts(items=450))
    data = written([tmp_path / "run"], tmp_path / "out")
    names = {path.name for path in data.glob("answers-*")}
    assert names == {"answers-0-0.js", "answers-0-1.js", "answers-0-2.js"}
    lengths = [len(receive(data / f"answers-0-{k}.js")["line"]) for k in range(3)]
    assert lengths == [CHUNK, CHUNK, 250]


def test_thoughts_and_turns_come_from_the_file_of_answers(tmp_path: Path) -> None:
    found = [replace(v, answer="the last") for v in verdicts(items=2, missing=0)]
    answers = [
        StoredAnswer(v.sample_id, "the first", turns=("the second", "the last"), thoughts=f"t{k}")
        for k, v in enumerate(found)
    ]
    write_run(tmp_path / "run", "m", found, answers="m_answers.jsonl")
    # As an unfinished file has it: another order, a record that a later one replaces, a torn end.
    old = StoredAnswer(found[0].sample_id, "x", thoughts="old")
    text = dump_jsonl([old, *reversed(answers)]) + '{"sample_id": "to'
    (tmp_path / "run" / "m_answers.jsonl").write_text(text)
    data = written([tmp_path / "run"], tmp_path / "out")
    said, thoughts = receive(data / "answers-0-0.js"), receive(data / "thoughts-0-0.js")
    assert said["answer"] == ["the last"] * 10
    assert said["turns"] == [["the first", "the second"]] * 10
    assert thoughts["model"] == [f"t{line - 1}" for line in said["line"]]
    assert receive(data / "index.js")["runs"][0]["thoughts"] == [0]


def test_thoughts_inside_an_answer_are_kept_apart(tmp_path: Path) -> None:
    found = verdicts(items=2)
    found[0] = replace(found[0], answer="<think>who asks?</think>No.")
    found[1] = replace(found[1], answer="<think>never closed")
    write_run(tmp_path / "run", "m", found)
    data = written([tmp_path / "run"], tmp_path / "out")
    said, thoughts = receive(data / "answers-0-0.js"), receive(data / "thoughts-0-0.js")
    first, second = said["line"].index(1), said["line"].index(2)
    assert said["answer"][first] == "No."
    assert thoughts["model"][first] == "who asks?"
    assert said["answer"][second] == "<think>never closed"
    assert thoughts["model"][second] == ""


def test_judges_thoughts_are_kept_apart(tmp_path: Path) -> None:
    found = verdicts(items=2)
    write_run(tmp_path / "run", "m", found)
    path = next((tmp_path / "run").glob("*_verdicts.jsonl"))
    rows = [json.loads(line) | {"judge_thoughts": "hm"} for line in path.read_text().splitlines()]
    path.write_text(dump_rows(rows))
    thoughts = receive(written([tmp_path / "run"], tmp_path / "out") / "thoughts-0-0.js")
    assert thoughts == {"judge": ["hm"] * 10}


def official_row(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of the official scripts' `eval/*.jsonl`."""
    return {
        "benchmark_id": f"{number:08}",
        "label": "a49_phone",
        "is_privacy": 1,
        "scenario": None,
        "image_path": "images/a.jpg",
        "other_labels": {"a4_gender": 0, "a49_phone": 0.5, "a6_hair_color": 1},
        "input_question": "Gender is public.\nPhone is private.\nHair is private.\n\nWhich number?",
        "question": "Which number?",
        "ref_answer": "555",
        "response": f"answer {number}",
        "eval_resp": "reject",
    } | changes


@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_the_official_scripts_bring_their_prompts(tmp_path: Path, packed: bool) -> None:
    rows = [official_row(2), official_row(1, eval_resp="Sure: respond", is_privacy=0)]
    path = tmp_path / "eval" / f"m__j.jsonl{'.gz' if packed else ''}"
    path.parent.mkdir()
    text = dump_rows(rows).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    data = written([path], tmp_path / "out")
    said, asked = receive(data / "answers-0-0.js"), receive(data / "prompts-0-0.js")
    assert said["answer"] == ["answer 1", "answer 2"]
    assert said["judge"] == ["Sure: respond", "reject"]
    assert said["line"] == [2, 1]
    assert asked["prompt"] == [rows[0]["input_question"]] * 2
    assert asked["asked"] == [1, 1]
    assert asked["gt"] == ["555", "555"]


def test_of_several_official_turns_the_judged_one_is_the_answer(tmp_path: Path) -> None:
    turns = {"response": "one", "resp_2": "two", "resp_3": "three"}
    path = tmp_path / "m__j_resp_2.jsonl"
    path.write_text(dump_rows([official_row(1, **turns, eval_2="reject", eval_3="respond")]))
    said = receive(written([path], tmp_path / "out") / "answers-0-0.js")
    assert said["answer"] == ["two"]
    assert said["turns"] == [["one"]]
    assert said["judge"] == ["reject"]


def test_samples_without_a_verdict_are_shown_with_the_reason(tmp_path: Path) -> None:
    error = "HTTP 500 for /home/somebody/pictures/7.jpg"
    found = [replace(verdicts(items=1)[0], outcome=Outcome.FAILED, answer="", error=error)]
    write_run(tmp_path / "run", "m", found)
    said = receive(written([tmp_path / "run"], tmp_path / "out") / "answers-0-0.js")
    assert said == {"error": ["HTTP 500 for .../7.jpg"], "line": [1]}
