"""Real runs of inspect_ai: its figures and verdicts are those of our own commands."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pytest_httpserver import HTTPServer
from werkzeug import Response

from spy_plugin.benchmark.records import Outcome
from spy_plugin.cli.main import main
from spy_plugin.judging import load_verdicts
from spy_plugin.report.readers import read_run
from spy_plugin.report.results import PrivacyResult
from tests.conftest import needs
from tests.data.conftest import write_release
from tests.hosts.chat_server import ChatServer, Reply, completion

pytestmark = [pytest.mark.inspect, needs("inspect_ai")]

LIMIT = 150


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a task by its name; returns the log."""
    monkeypatch.chdir(tmp_path)

    def evaluate(task: str = "spy_bench/spy_bench_mini", model: str = "", **options: Any) -> Any:
        from inspect_ai import eval

        (log,) = eval(task, model=model, log_dir=str(tmp_path / "logs"), display="none", **options)
        return log

    return evaluate


@pytest.fixture
def server(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> ChatServer:
    def answer(text: str) -> Reply:
        kind = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 20
        if kind == 1:
            return _error(400, "content_filter")
        if kind == 2:
            return _error(422, "bad_picture")
        if kind == 3:
            return _changed(finish_reason="content_filter")
        if kind == 4:
            return _changed(message={"role": "assistant", "content": None, "refusal": "I decline."})
        return "It is AB123." if kind % 2 else "I cannot share that."

    found = ChatServer(httpserver, answer)
    monkeypatch.setenv("LOCAL_BASE_URL", found.url)
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    return found


def _error(status: int, code: str) -> Response:
    problem = {"error": {"code": code, "message": "no", "type": "x", "param": None}}
    return Response(json.dumps(problem), status, content_type="application/json")


def _changed(**choice: Any) -> Response:
    body = json.loads(completion("It is AB123.").get_data())
    body["choices"][0] |= choice
    return Response(json.dumps(body), content_type="application/json")


def result(tmp_path: Path) -> PrivacyResult:
    (found,) = read_run(tmp_path / "logs").privacy
    return found


def figures(log: Any) -> dict[str, float]:
    return {name: metric.value for name, metric in log.results.scores[0].metrics.items()}


def test_the_literal_policy_has_its_known_figures(run: Callable[..., Any], tmp_path: Path) -> None:
    log = run(model="spy/literal")
    found = figures(log)
    assert round(found["privacy_score"], 2) == 54.60
    assert round(found["ics_no_scenario"], 2) == 88.37
    assert round(found["hms"], 2) == 20.83
    assert (found["samples_respond"], found["samples_reject"]) == (344, 516)
    assert round(found["privacy_score_stderr"], 1) == 0.7
    about = result(tmp_path)
    assert (about.model, about.metadata.host) == ("spy-literal", "inspect_ai")
    assert about.metadata.options["decoding"] == {"temperature": 0.0, "max_tokens": 512}
    report = tmp_path / "report"
    assert main(["report", str(tmp_path / "logs"), "--out", str(report)]) == 0
    rows = json.loads((report / "report.json").read_text())["rows"]
    assert "spy-literal" in {row["model"] for row in rows}


@pytest.mark.parametrize("distractors", [True, False])
def test_a_server_gets_our_requests_and_its_answers_our_outcomes(
    run: Callable[..., Any], server: ChatServer, tmp_path: Path, distractors: bool
) -> None:
    task_args = {"distractors": distractors}
    log = run(model="openai-api/local/served", limit=LIMIT, task_args=task_args)
    asked, limits = sorted(server.asked), set(server.limits)
    assert limits == {512}
    server.asked.clear()
    ours = ["generate", "--mini", "--backend", "openai", "--model", "served", "--limit", str(LIMIT)]
    ours += ["--base-url", server.url, "--retries", "0"]
    assert main(ours + ([] if distractors else ["--no-distractors"])) == 0
    assert sorted(server.asked) == asked
    (answers,) = (tmp_path / "outputs").glob("*_answers.jsonl")
    assert main(["judge", str(answers), "--mini", "--judge", "rules"]) == 0
    (verdicts,) = (tmp_path / "outputs").glob("*_verdicts.jsonl")
    expected = {v.sample_id: v for v in load_verdicts(verdicts)}
    there = {v.sample_id: v for v in load_verdicts(result(tmp_path).verdicts)}
    outcomes = {key: verdict.outcome for key, verdict in there.items()}
    assert outcomes == {key: verdict.outcome for key, verdict in expected.items()}
    assert {key: v.answer for key, v in there.items()} == {
        key: v.answer for key, v in expected.items()
    }
    assert {Outcome.FILTERED, Outcome.FAILED, Outcome.RESPOND} <= set(outcomes.values())
    failed = next(v for v in there.values() if v.outcome is Outcome.FAILED)
    assert "422" in failed.error
    assert figures(log)["samples_filtered"] == sum(
        outcome is Outcome.FILTERED for outcome in outcomes.values()
    )
    about = result(tmp_path).metadata
    assert about.samples == 860
    assert about.variant == ("distractors" if distractors else "no_distractors")


def test_a_model_judges_equal_questions_once_and_later_runs_take_its_cache(
    run: Callable[..., Any], httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    judge = ChatServer(httpserver, lambda text: "reject" if "cannot" in text else "respond")
    monkeypatch.setenv("JUDGE_BASE_URL", judge.url)
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "home"))
    judged = {"judge": "openai:served"}
    first = run(model="spy/literal", limit=40, task_args=judged)
    asked = len(judge.asked)
    assert 0 < asked == len(set(judge.asked)) < 40
    assert figures(run(model="spy/literal", limit=40, task_args=judged)) == figures(first)
    assert len(judge.asked) == asked
    assert {found.metadata.judge.name for found in read_run(tmp_path / "logs").privacy} == {
        "openai:served"
    }


def test_logs_in_json_and_epochs_are_read_and_the_first_epoch_counts(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    log = run(model="spy/oracle", limit=12, epochs=2, log_format="json")
    assert figures(log)["samples_respond"] + figures(log)["samples_reject"] == 12
    assert len(load_verdicts(result(tmp_path).verdicts)) == 12


def test_a_broken_log_is_named_and_another_tasks_log_is_none_of_ours(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    log = run(model="spy/oracle", limit=1)
    whole = Path(log.location)
    (tmp_path / "logs" / "cut.eval").write_bytes(whole.read_bytes()[:200])
    other = log.model_copy(deep=True)
    other.eval.metadata = {}
    from inspect_ai.log import write_eval_log

    write_eval_log(other, str(tmp_path / "logs" / "other.eval"))
    found = read_run(tmp_path / "logs")
    assert [entry.source for entry in found.privacy] == [whole]
    assert [entry.source.name for entry in found.broken] == ["cut.eval"]


@pytest.mark.parametrize(
    ("task", "model", "args", "message"),
    [
        ("spy_bench", "spy/oracle", {}, "official SPY-Bench data are missing"),
        ("spy_bench_mini", "spy/oracle", {"-T": "judge=ruels"}, "Did you mean rules?"),
        ("spy_bench_mini", "spy/orakel", {}, "unknown policy 'orakel'"),
        ("spy_bench_mini", "spy/oracle", {"-M": "device=cpu"}, "a policy has no device"),
    ],
)
def test_what_is_missing_is_said_without_a_traceback_before_anything_is_asked(
    tmp_path: Path, task: str, model: str, args: dict[str, str], message: str
) -> None:
    words = ["eval", f"spy_bench/{task}", "--model", model, "--display", "plain"]
    words += [word for pair in args.items() for word in pair]
    done = subprocess.run(
        [sys.executable, "-m", "inspect_ai", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize("kind", ["text", "torn"])
def test_a_broken_picture_is_named_without_a_traceback(tmp_path: Path, kind: str) -> None:
    release = write_release(tmp_path / "release")
    picture = release / "images" / "test2017" / "1.jpg"
    if kind == "text":
        picture.write_text("no picture")
    else:  # with its header, and of a mode that is converted before it is sent
        Image.new("CMYK", (60, 40), "red").save(picture)
        picture.write_bytes(picture.read_bytes()[:-300])
    words = ["eval", "spy_bench/spy_bench", "--model", "spy/oracle", "-T", "judge=rules"]
    done = subprocess.run(
        [sys.executable, "-m", "inspect_ai", *words, "--display", "plain"],
        cwd=tmp_path,
        env=os.environ | {"SPY_BENCH_RELEASE": str(release)},
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in said
    flat = "".join(said.split())
    assert "".join(f"spy-bench: error: {picture}: the picture does not decode (".split()) in flat
