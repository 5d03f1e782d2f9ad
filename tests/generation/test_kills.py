"""After `kill -9` at random moments with a faulty server, each sample ends exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.benchmark.records import Answer, Outcome
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.judging import load_verdicts
from tests.models.faulty_process import FILTERS, ServerProcess

LIMIT = 300
FAULTS = ["500", "429 later", "reset", "torn", "no choices", "garbage", *FILTERS]
"""Faults of one in nine conversations at the first attempt, the only one without retries."""


def kill_at_random(
    words: list[str], out: Path, seed: int, kills: int = 2, more: tuple[int, int] = (15, 100)
) -> None:
    """Run a command several times, killing it after some more lines each time."""
    rng = random.Random(seed)
    for _ in range(kills):
        goal = count(out) + rng.randint(*more)
        command = [sys.executable, "-m", "spy_plugin.cli", *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while count(out) < goal and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def ended(answer: Answer) -> str:
    return answer.outcome.value if answer.outcome else "answered"


def go_on(words: list[str], out: Path, server: ServerProcess) -> dict[str, Answer]:
    """Run to the end with the faulty server, then once more with a healthy one."""
    assert main(words) == 0
    counts = Counter(map(ended, read_answers(out).by_id.values()))
    assert set(counts) == {"answered", "filtered", "failed"}
    server.command(faults=list(FILTERS), every=9, lasting=True)
    assert main([*words, "--retries", "3"]) == 0
    found = read_answers(out)
    assert found.repeated == 0
    assert count(out) == len(found.by_id)
    return found.by_id


@pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
def test_generate_self_moderate_and_judge_lose_nothing(
    tmp_path: Path, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seed = time.time_ns()
    samples = list(open_benchmark(MINI).samples())
    wanted = [sample.sample_id for sample in samples[:LIMIT]]
    out, moderated = Path("a_answers.jsonl"), Path("b_answers.jsonl")
    words = ["generate", "--mini", "--backend", "openai", "--model", "served", "--retries", "0"]
    words += ["--base-url", server.url, "--limit", str(LIMIT), "--out", str(out)]

    server.command(faults=FAULTS, every=9, lasting=True, delay=0.03)
    kill_at_random(words, out, seed)
    before = read_answers(out).by_id
    first = go_on(words, out, server)
    assert list(first) == wanted, seed
    kept = {i: answer for i, answer in before.items() if answer.outcome is not Outcome.FAILED}
    assert kept.items() <= first.items(), seed
    assert set(map(ended, first.values())) == {"answered", "filtered"}

    server.command(faults=FAULTS, every=9, lasting=True, delay=0.03)
    words = ["self-moderate", str(out), "--mini", "--base-url", server.url, "--retries", "0"]
    words += ["--out", str(moderated)]
    # In turn 2 and later: each sample is written up to three times.
    kill_at_random(words, moderated, seed + 1)
    turned = {i: a.turns for i, a in read_answers(moderated).by_id.items() if a.turns}
    last = go_on(words, moderated, server)
    assert list(last) == wanted, seed
    assert all(last[i].turns[: len(turns)] == turns for i, turns in turned.items()), seed
    answered = [answer for answer in last.values() if answer.outcome is None]
    assert all(len(answer.turns) == 2 for answer in answered)
    assert {answer.response for answer in answered} <= {a.response for a in first.values()}

    assert main(["judge", str(moderated), "--mini", "--judge", "rules", "--out", "v.jsonl"]) == 0
    verdicts = load_verdicts(Path("v.jsonl"))
    assert [verdict.sample_id for verdict in verdicts] == wanted
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    filtered = sum(answer.outcome is Outcome.FILTERED for answer in last.values())
    assert (outcomes[Outcome.FAILED], outcomes[Outcome.FILTERED]) == (0, filtered)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
def test_twenty_kills_lose_nothing_and_ask_again_only_what_was_in_flight(
    tmp_path: Path, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seed, kills, in_flight = time.time_ns(), 20, 16
    out, moderated, judged = (Path(f"{name}.jsonl") for name in ("a_answers", "b_answers", "v"))
    at = ["--mini", "--base-url", server.url]
    generate = ["generate", *at, "--backend", "openai", "--model", "served", "--limit", str(LIMIT)]
    judge = ["judge", str(out), *at, "--judge", "openai:served", "--no-cache", "--out", str(judged)]
    moderate = ["self-moderate", str(out), *at, "--out", str(moderated)]
    for words, path, wanted in (
        ([*generate, "--out", str(out)], out, LIMIT),
        (moderate, moderated, 2 * LIMIT),  # two further turns
        (judge, judged, LIMIT),
    ):
        server.command(delay=0.01)
        kill_at_random(words, path, seed, kills, more=(2, 10))
        before = path.read_bytes().split(b"\n")[:-1]  # without a torn last line
        assert main(words) == 0
        asked = len(server.command())
        after = set(path.read_bytes().split(b"\n"))
        lost = [line for line in before if line not in after]
        # A sample in moderation has a line for each turn, of which the end keeps the last.
        assert path == moderated or not lost, seed
        # A file of verdicts has a row for each sample that was not asked, too.
        assert (len(load_verdicts(path)) if path == judged else count(path)) == LIMIT
        assert asked <= wanted + kills * in_flight, seed
