"""`spy-bench judge` and `judge-check` by their command lines."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.policies import reply
from spy_plugin.benchmark.records import Answer, Outcome, Sample, dump_jsonl
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.judging import load_verdicts
from tests.conftest import needs
from tests.models.faulty_server import KEY, FaultyServer, Reply, completion, error

Serve = Callable[..., FaultyServer]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(open_benchmark(MINI).samples())


@pytest.fixture
def answers(tmp_path: Path, samples: list[Sample]) -> Path:
    """The answers of the literal policy, each with distinct words."""
    path = tmp_path / "model_answers.jsonl"
    rows = [Answer(s.sample_id, f"{reply('spy-literal', s)} ({s.sample_id})") for s in samples]
    path.write_text(dump_jsonl(rows))
    return path


@pytest.fixture
def few_answers(answers: Path) -> Path:
    """The first sixty samples."""
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:60]))
    return answers


def read_aloud(body: dict[str, Any], _: int) -> Reply:
    """The reply of a judge that decides as the rules do."""
    refused = "I can't share" in body["messages"][0]["content"]
    return completion("reject" if refused else "respond")


def test_judging_offline_ends_in_a_file_that_scores(
    answers: Path, samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", str(answers), "--mini", "--judge", "rules"]) == 0
    text = capsys.readouterr().out
    assert "rules (offline judge: a quick look, not for reported scores)" in text
    out = answers.with_name("model_verdicts.jsonl")
    assert len(load_verdicts(out)) == len(samples)
    assert main(["score", str(out)]) == 0
    assert "ics w/o scenario" in capsys.readouterr().out


def test_a_dry_run_counts_calls_tokens_and_dollars_and_asks_nobody(
    answers: Path, samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["judge", str(answers), "--mini", "--judge", "gpt-4o", "--dry-run"]
    assert main(run) == 0
    text = capsys.readouterr().out
    assert f"{len(samples):,} calls" in text
    assert "tokens in" in text
    assert "about $" in text
    assert not answers.with_name("model_verdicts.jsonl").exists()
    assert main([*run, "--price", "1000000", "0"]) == 0
    assert "about $" in capsys.readouterr().out
    assert main(["judge", str(answers), "--mini", "--judge", "unknown-model", "--dry-run"]) == 0
    assert "price unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [("--concurrency", "0"), ("--retries", "-1"), ("--timeout", "nan"), ("--price", "1", "-2")],
)
def test_a_number_that_cannot_be_is_refused(
    wrong: tuple[str, ...], answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["judge", str(answers), "--mini", "--judge", "rules", *wrong])
    assert f"argument {wrong[0]}:" in capsys.readouterr().err


def test_a_dry_run_beside_another_judges_verdicts_counts_from_nothing(
    answers: Path, samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["judge", str(answers), "--mini", "--judge"]
    assert main([*run, "rules"]) == 0
    assert main([*run, "gpt-4o", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "as if from nothing" in text
    assert f"{len(samples):,} calls" in text
    assert "name another file with --out FILE" in text


def test_what_is_missing_or_answered_twice_is_said(
    answers: Path, samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = answers.read_text().splitlines(keepends=True)
    answers.write_text("".join([*lines[:-7], *lines[:2]]))
    assert main(["judge", str(answers), "--mini", "--judge", "rules"]) == 0
    text = capsys.readouterr().out
    assert f"7 samples have no answer in {answers}: they were not asked" in text
    assert f"2 samples have several answers in {answers}: the last one counts" in text
    assert "not asked 7 of 860 samples" in text
    assert len(load_verdicts(answers.with_name("model_verdicts.jsonl"))) == len(samples) - 7


def test_failed_answers_alone_are_nothing_judged_though_others_are_missing(
    answers: Path, samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    failed = Answer(samples[0].sample_id, "", outcome=Outcome.FAILED, error="no server")
    answers.write_text(dump_jsonl([failed]))
    assert main(["judge", str(answers), "--mini", "--judge", "rules"]) == 1
    text = capsys.readouterr().out
    assert "failed 1, not asked 859 of 860 samples" in text
    assert "nothing could be judged" in text


def test_equal_answers_are_counted_once(
    tmp_path: Path, samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(dump_jsonl([Answer(s.sample_id, "No.") for s in samples]))
    assert main(["judge", str(path), "--mini", "--judge", "gpt-4o", "--dry-run"]) == 0
    distinct = len({(s.label_words, s.question) for s in samples})
    assert f"saved by equality {len(samples) - distinct}" in capsys.readouterr().out


def test_without_a_key_nothing_starts_and_the_choices_are_named(
    answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", str(answers), "--mini", "--judge", "gpt-4o"]) == 1
    text = capsys.readouterr().err
    assert all(word in text for word in ("JUDGE_API_KEY", "JUDGE_BASE_URL", "--judge rules"))
    assert not answers.with_name("model_verdicts.jsonl").exists()


def test_a_re_run_and_another_file_ask_nothing(
    few_answers: Path, serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = serve(read_aloud)
    run = ["judge", str(few_answers), "--mini", "--judge", "openai:served"]
    run += ["--judge-base-url", server.url, "--cache", str(tmp_path / "c.sqlite")]
    assert main(run) == 0
    asked = len(server.requests)
    assert main(run) == 0
    assert main([*run, "--out", str(tmp_path / "other.jsonl")]) == 0
    assert len(server.requests) == asked
    assert f"saved by cache {asked}" in capsys.readouterr().out
    again = load_verdicts(few_answers.with_name("model_verdicts.jsonl"))
    assert again == load_verdicts(tmp_path / "other.jsonl")


def test_a_server_that_is_not_there_ends_the_run_at_once(
    few_answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["judge", str(few_answers), "--mini", "--judge", "openai:served", "--retries", "1"]
    assert main([*run, "--judge-base-url", "http://127.0.0.1:9/v1", "--no-cache"]) == 1
    text = capsys.readouterr().err
    assert "ConnectError" in text
    assert "JUDGE_BASE_URL" in text
    assert not few_answers.with_name("model_verdicts.jsonl").exists()


@needs("transformers")
def test_a_local_judge_that_cannot_be_loaded_leaves_nothing(
    few_answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(few_answers.parent.iterdir())
    run = ["judge", str(few_answers), "--mini", "--judge", "transformers:nosuch/model"]
    assert main([*run, "--no-cache"]) == 1
    assert "cannot load nosuch/model" in capsys.readouterr().err
    assert set(few_answers.parent.iterdir()) == before


def test_answers_of_another_benchmark_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(dump_jsonl([Answer("stranger", "x")]))
    assert main(["judge", str(path), "--mini", "--judge", "rules"]) == 1
    assert "stranger" in capsys.readouterr().err


def test_answers_without_distractors_find_their_samples(tmp_path: Path) -> None:
    samples = list(open_benchmark(MINI).samples(distractors=False))
    path, out = tmp_path / "a.jsonl", tmp_path / "v.jsonl"
    path.write_text(dump_jsonl([Answer(s.sample_id, "It is red.") for s in samples]))
    assert main(["judge", str(path), "--mini", "--judge", "rules", "--out", str(out)]) == 0
    assert {v.outcome for v in load_verdicts(out)} == {Outcome.RESPOND}


def test_judge_check_measures_one_judge_and_compares_two(
    answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge-check", "--judge", "rules"]) == 0
    text = capsys.readouterr().out
    assert "blind examples" in text
    assert "kappa" in text
    two = ["judge-check", str(answers), "--mini", "--judge", "rules", "--judge", "rules"]
    assert main(two) == 0
    assert "agreement 100.0%" in capsys.readouterr().out
    assert main(two[:-2]) == 1
    assert "two judges" in capsys.readouterr().err


def command(answers: Path, out: Path, server: FaultyServer) -> list[str]:
    run = [sys.executable, "-m", "spy_plugin.cli", "judge", str(answers), "--mini"]
    run += ["--judge", "openai:served", "--judge-base-url", server.url, "--out", str(out)]
    return [*run, "--concurrency", "4"]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_killed_at_random_moments_nothing_is_lost_or_counted_twice(
    answers: Path, samples: list[Sample], serve: Serve, tmp_path: Path
) -> None:
    def script(body: dict[str, Any], attempt: int) -> Reply:
        time.sleep(0.004)
        return read_aloud(body, attempt)

    server, out = serve(script), tmp_path / "v.jsonl"
    environment = os.environ | {"JUDGE_API_KEY": KEY}
    run = [*command(answers, out, server), "--cache", str(tmp_path / "c.sqlite")]
    rng = random.Random(time.time_ns())
    kills = 0
    for _ in range(2):
        process = subprocess.Popen(run, env=environment, stderr=subprocess.DEVNULL)
        goal = lines(out) + rng.randint(20, 150)
        while lines(out) < goal and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    before = {v.sample_id: v for v in load_verdicts(out)}
    assert 40 <= len(before) < len(samples)
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    after = load_verdicts(out)
    assert [v.sample_id for v in after] == [s.sample_id for s in samples]
    assert lines(out) == len(samples)
    assert {v.outcome for v in after} == {Outcome.RESPOND, Outcome.REJECT}
    assert all(before[v.sample_id] == v for v in after if v.sample_id in before)
    # At each kill, only requests in flight or on their way to the file are asked again.
    assert len(server.requests) <= len(samples) + 2 * 16
    assert "kept from an earlier run" in done.stdout


def test_every_sample_ends_once_whatever_the_server_does(
    answers: Path, samples: list[Sample], serve: Serve, tmp_path: Path
) -> None:
    faults = [
        error(500, "oops"),
        Reply(fault="reset"),
        Reply(200, '{"choices": ['),
        completion("what?"),
        completion("", finish="content_filter"),
    ]

    def script(body: dict[str, Any], attempt: int) -> Reply:
        prompt = body["messages"][0]["content"]
        number = sum(prompt.encode()) % 23
        return faults[number] if number < len(faults) else read_aloud(body, attempt)

    server, out = serve(script), tmp_path / "v.jsonl"
    run = [*command(answers, out, server)[3:], "--no-cache", "--retries", "0"]
    assert main(run) == 0
    verdicts = load_verdicts(out)
    assert [v.sample_id for v in verdicts] == [s.sample_id for s in samples]
    counts = Counter(v.outcome for v in verdicts)
    assert set(counts) == set(Outcome) - {Outcome.FILTERED}
    failed = counts[Outcome.FAILED]
    server.script = read_aloud
    before = len(server.requests)
    assert main(run) == 0
    assert len(server.requests) - before == failed
    assert Outcome.FAILED not in {v.outcome for v in load_verdicts(out)}


def test_the_key_is_in_no_file_and_in_no_output(
    few_answers: Path, serve: Serve, tmp_path: Path
) -> None:
    def script(body: dict[str, Any], attempt: int) -> Reply:
        odd = sum(body["messages"][0]["content"].encode()) % 2
        return error(400, f"bad: Bearer {KEY}") if odd else read_aloud(body, attempt)

    environment = os.environ | {"JUDGE_API_KEY": KEY, "OPENAI_LOG": "debug"}
    run = command(few_answers, tmp_path / "v.jsonl", serve(script))
    run += ["--cache", str(tmp_path / "c.sqlite"), "--retries", "0"]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    # A hundred failures in a row are unlikely with half of the requests answered.
    assert KEY not in done.stdout + done.stderr
    for folder in (tmp_path, Path(os.environ["SPY_BENCH_HOME"])):
        for path in folder.rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    refused = serve(lambda *_: error(401, f"wrong key {KEY}"))
    run = command(few_answers, tmp_path / "w.jsonl", refused)
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "openai:served cannot be asked" in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
