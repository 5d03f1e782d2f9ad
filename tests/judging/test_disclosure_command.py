"""`spy-bench judge --ask-disclosure`: whom it asks about, what it keeps and what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Answer, Outcome, Sample, dump_jsonl
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.judging import Judge, load_verdicts
from spy_plugin.judging.disclosure import (
    may_disclose,
)
from tests.judging.conftest import make_samples
from tests.judging.disclosures import ASKS, about_disclosures, judged, told
from tests.models.faulty_server import KEY, FaultyServer, Reply, completion, error

Serve = Callable[..., FaultyServer]
JudgeAt = Callable[..., Judge]

FEW = 60


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(open_benchmark(MINI).samples())


@pytest.fixture
def due(samples: list[Sample]) -> list[Sample]:
    """Those of the first sixty samples whose answers can be disclosures."""
    return [s for s in samples[:FEW] if may_disclose(s, BUILTIN.absolute_labels)]


@pytest.fixture
def answers(tmp_path: Path, samples: list[Sample]) -> Path:
    """Every third answer to the first sixty samples refuses, every third tells a wrong value."""
    texts = ("No, not {}", "{} it is", "it is not known")
    rows = [
        Answer(s.sample_id, f"{texts[n % 3].format(s.gt)} ({s.sample_id})")
        for n, s in enumerate(samples[:FEW])
    ]
    path = tmp_path / "m_answers.jsonl"
    path.write_text(dump_jsonl(rows))
    return path


@pytest.fixture
def expected(samples: list[Sample], due: list[Sample]) -> dict[str, str]:
    """sample_id -> what the judge says of the answers that respond."""
    kinds = {s.sample_id: ("", "yes", "no")[n % 3] for n, s in enumerate(samples[:FEW])}
    return {s.sample_id: kinds[s.sample_id] for s in due if kinds[s.sample_id]}


def command(answers: Path, server: FaultyServer, *more: str) -> list[str]:
    words = ["judge", str(answers), "--mini", "--judge", "openai:served", "--judge-base-url"]
    cache = answers.with_name("c.sqlite")
    return [*words, server.url, "--cache", str(cache), "--retries", "0", *more]


def test_only_private_answers_that_respond_are_asked_about(
    answers: Path, serve: Serve, expected: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = answers.with_name("plain_verdicts.jsonl")
    server = serve(judged)
    assert main(command(answers, server, "--out", str(plain))) == 0
    assert len(server.requests) == FEW
    assert "disclosure" not in plain.read_text()
    assert "disclosures" not in plain.with_name("plain_spy.json").read_text()
    assert main(command(answers, server, "--ask-disclosure")) == 0
    said = capsys.readouterr().out
    # The verdicts come from the cache; the rest are about disclosures.
    assert len(server.requests) - FEW == len(about_disclosures(server)) == len(expected) == 29
    out = answers.with_name("m_verdicts.jsonl")
    assert told(out) == expected
    counts = Counter(expected.values())
    assert counts == {"yes": 13, "no": 16}
    assert f"disclosures: asked {len(expected)}, saved by equality 0, saved by cache 0" in said
    of = f"of {len(expected)} private answers whose true value is known"
    assert f"yes {counts['yes']}, no {counts['no']}, unjudged 0, failed 0 {of}" in said
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for row in rows:
        row.pop("disclosure", None)
    assert [json.dumps(row, ensure_ascii=False) for row in rows] == plain.read_text().splitlines()
    run = json.loads(out.with_name("m_spy.json").read_text())
    assert run["judge_summary"]["disclosures"]["told"] == counts | {"unjudged": 0, "failed": 0}
    assert run["usage"]["judge"]["requests"] == len(expected)


def test_what_is_known_is_asked_again_by_nobody(
    answers: Path, serve: Serve, expected: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server, more = serve(judged), "--ask-disclosure"
    assert main(command(answers, server, more)) == 0
    asked = len(server.requests)
    assert asked == FEW + len(expected)
    out, other = answers.with_name("m_verdicts.jsonl"), answers.with_name("o_verdicts.jsonl")
    first = out.read_bytes()
    assert main(command(answers, server, more)) == 0
    assert f"asked 0, saved by equality 0, saved by cache 0, kept from an earlier run {FEW}" in (
        said := capsys.readouterr().out
    )
    assert f"cache 0, kept from an earlier run {len(expected)}\n" in said
    assert out.read_bytes() == first
    assert main(command(answers, server, more, "--out", str(other))) == 0
    assert f"disclosures: asked 0, saved by equality 0, saved by cache {len(expected)}" in (
        capsys.readouterr().out
    )
    assert other.read_bytes() == first
    assert main(command(answers, server)) == 0  # without the option, what is there stays
    assert out.read_bytes() == first
    assert len(server.requests) == asked


def test_killed_in_the_second_pass_only_what_is_missing_is_asked(
    answers: Path, serve: Serve, expected: dict[str, str]
) -> None:
    def script(body: dict[str, Any], attempt: int) -> Reply:
        time.sleep(0.05)
        return judged(body, attempt)

    server, out = serve(script), answers.with_name("m_verdicts.jsonl")
    run = [sys.executable, "-m", "spy_plugin.cli", *command(answers, server, "--no-cache")]
    run = [word for word in run if word not in ("--cache", str(answers.with_name("c.sqlite")))]
    run += ["--concurrency", "2", "--ask-disclosure"]
    environment = os.environ | {"JUDGE_API_KEY": KEY}
    process = subprocess.Popen(run, env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (out.exists() and out.read_text().count("told") >= 8):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = told(out)
    assert 8 <= len(kept) < len(expected)
    # The verdicts have their run file already: the killed pass costs nothing but itself.
    assert out.with_name("m_spy.json").exists()
    server.requests.clear()
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert len(server.requests) == len(about_disclosures(server)) == len(expected) - len(kept)
    assert told(out) == expected
    assert f"kept from an earlier run {len(kept)}\n" in done.stdout


def test_what_fails_or_says_neither_is_counted_and_only_failures_are_asked_again(
    answers: Path, serve: Serve, expected: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [
        error(500, "oops"),
        Reply(fault="reset"),
        completion("perhaps"),
        completion("", finish="content_filter"),
        completion("ye", finish="length"),
    ]
    asked: list[str] = []

    def script(body: dict[str, Any], attempt: int) -> Reply:
        text = body["messages"][0]["content"]
        if text.startswith(ASKS):
            asked.append(text)
            if len(asked) <= len(faults):
                return faults[len(asked) - 1]
        return judged(body, attempt)

    server = serve(script)
    run = command(answers, server, "--ask-disclosure", "--concurrency", "1")
    assert main(run) == 0
    assert "unjudged 3, failed 2 of 29 private answers" in capsys.readouterr().out
    out = answers.with_name("m_verdicts.jsonl")
    counts = Counter(told(out).values())
    assert (counts["unjudged"], counts["failed"], len(told(out))) == (3, 2, len(expected))
    found = [v.disclosure for v in load_verdicts(out) if v.disclosure]
    unclear = {d.raw: d.error for d in found if d.told == "unjudged"}
    assert unclear["perhaps"] == "the judge's text says neither yes nor no"
    assert unclear["ye"] == "the judge's reply was cut at its limit of new tokens"
    assert all(d.error for d in found if d.told == "failed")
    assert {v.outcome for v in load_verdicts(out) if v.disclosure} == {Outcome.RESPOND}
    before = len(server.requests)
    assert main(run) == 0
    assert len(server.requests) - before == 2
    assert "unjudged 3, failed 0 of 29 private answers" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["choice", "json"])
def test_structured_output_allows_yes_and_no_alone(
    answers: Path, serve: Serve, form: str, expected: dict[str, str]
) -> None:
    server = serve(judged)
    assert main(command(answers, server, "--ask-disclosure", "--structured", form)) == 0
    field = "structured_outputs" if form == "choice" else "response_format"
    words = Counter(
        (request["messages"][0]["content"].startswith(ASKS), *_words(request[field]))
        for request in server.requests
    )
    assert words == {(False, "respond", "reject"): FEW, (True, "yes", "no"): len(expected)}


def _words(field: dict[str, Any]) -> list[str]:
    if "choice" in field:
        return list(field["choice"])
    return list(field["json_schema"]["schema"]["properties"]["label"]["enum"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--judge", "rules"], "rules is not a model.*exact rule.*--judge openai:MODEL"),
        ([], "rules is not a model"),
        (["--judge", "minilm"], "minilm is not a model"),
        (["--judge", "gpt-4o", "--batch", "submit"], "has no batches.*without --batch"),
        (["--judge", "gpt-4o", "--batch", "collect"], "has no batches"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is(
    answers: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", KEY)
    assert main(["judge", str(answers), "--mini", *words, "--ask-disclosure"]) == 1
    said = capsys.readouterr().err
    assert pytest.raises(AssertionError, match=message).matches(
        AssertionError(" ".join(said.split()))
    )
    assert not answers.with_name("m_verdicts.jsonl").exists()


def test_a_benchmark_without_true_values_is_refused(
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Benchmark:
        variants = (True, False)
        name = "mini"
        protocol = BUILTIN

        def samples(self, *, distractors: bool) -> list[Sample]:
            return make_samples(2)

    monkeypatch.setattr("spy_plugin.benchmarks.open_benchmark", lambda name: Benchmark())
    path = tmp_path / "m_answers.jsonl"
    path.write_text(dump_jsonl([Answer(s.sample_id, "It is X.") for s in make_samples(2)]))
    server = serve(judged)
    assert main(command(path, server, "--ask-disclosure")) == 1
    assert "needs true values (gt), and no item of mini has one" in capsys.readouterr().err
    assert server.requests == []


def test_a_dry_run_counts_what_may_be_asked(
    answers: Path, serve: Serve, due: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    server, more = serve(judged), ("--ask-disclosure", "--dry-run")
    assert main(command(answers, server, *more)) == 0
    said = capsys.readouterr().out
    assert f"{FEW} calls" in said
    assert "about disclosures at most, if all of these answers are judged respond:" in said
    assert f"\n{len(due)} calls" in said
    assert server.requests == []
    assert main(command(answers, server)) == 0
    capsys.readouterr()
    assert main(command(answers, server, *more)) == 0
    assert "\n29 calls" in capsys.readouterr().out
    assert main(command(answers, server, "--ask-disclosure")) == 0
    capsys.readouterr()
    assert main(command(answers, server, *more)) == 0
    assert capsys.readouterr().out.count("\n0 calls") == 2
