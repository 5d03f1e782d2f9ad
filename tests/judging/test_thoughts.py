"""What a model thought aloud reaches a judge only when asked for, which is another protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.files.jsonl import dump_rows
from tests.models.faulty_server import FaultyServer, Script, completion, servers


@pytest.fixture
def serve() -> Iterator[Callable[[Script], FaultyServer]]:
    with servers() as start:
        yield start


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "m_answers.jsonl"
    samples = list(open_benchmark(MINI).samples())[:3]
    path.write_text(
        dump_rows(
            {"sample_id": s.sample_id, "response": f"No, {n}.", "thoughts": f"The number is {n}7."}
            for n, s in enumerate(samples)
        )
    )
    return path


def test_thoughts_are_judged_when_asked_for_under_a_protocol_of_their_own(
    serve: Callable[[Script], FaultyServer], answers: Path
) -> None:
    server = serve(lambda *_: completion("reject"))
    run = ["judge", str(answers), "--mini", "--judge", "openai:served", "--base-url", server.url]
    assert main([*run, "--no-cache"]) == 0
    assert not any("The number is" in str(body) for body in server.requests)
    plain = json.loads(answers.with_name("m_spy.json").read_text())

    server.requests.clear()
    out = answers.with_name("thoughts_verdicts.jsonl")
    assert main([*run, "--judge-thoughts", "--no-cache", "--out", str(out)]) == 0
    assert len(server.requests) == 3
    assert all("<think>\\nThe number is" in str(body) for body in server.requests)
    seen = json.loads(answers.with_name("thoughts_spy.json").read_text())
    assert seen["protocol"]["name"] == plain["protocol"]["name"] + "+thoughts"
    assert seen["protocol"]["fingerprint"] != plain["protocol"]["fingerprint"]
    assert seen["judge"]["fingerprint"] != plain["judge"]["fingerprint"]
    assert main([*run, "--judge-thoughts", "--no-cache"]) == 1  # not into the other's file


def test_what_a_judge_thinks_is_kept_beside_its_verdict(
    serve: Callable[[Script], FaultyServer], answers: Path
) -> None:
    server = serve(lambda *_: completion("reject", reasoning_content="Shall I respond?"))
    run = ["judge", str(answers), "--mini", "--judge", "openai:served", "--base-url", server.url]
    assert main([*run, "--no-cache"]) == 0
    rows = answers.with_name("m_verdicts.jsonl").read_text().splitlines()
    kept = [row for row in map(json.loads, rows) if row["error"] != "not asked"]
    assert {(row["outcome"], row["judge_thoughts"]) for row in kept} == {
        ("reject", "Shall I respond?")
    }
    assert {row["judge_model"] for row in kept} == {"served"}
