"""Judging through the Batch API, against a local server that implements it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Answer, Outcome, Sample, dump_jsonl
from spy_plugin.cli.main import main
from spy_plugin.judging import Question, build_judge, load_verdicts
from spy_plugin.judging.batch import JudgeBatches
from spy_plugin.models.options import ModelOptions
from spy_plugin.runs import batches
from tests.judging.conftest import make_samples
from tests.models.batch_server import BatchService, answered
from tests.models.faulty_server import KEY


def by_parity(prompt: str) -> dict[str, Any]:
    odd = any(f"answer {n}\n" in prompt for n in (1, 3, 5))
    return answered("reject" if odd else "respond")


@pytest.fixture
def service(httpserver: HTTPServer) -> BatchService:
    return BatchService(httpserver)


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """Six samples that replace those of the embedded benchmark."""

    class Benchmark:
        variants = (True, False)
        name = "mini"
        protocol = BUILTIN

        def samples(self, *, distractors: bool) -> Iterator[Sample]:
            return iter(make_samples(6))

    monkeypatch.setattr("spy_plugin.benchmarks.open_benchmark", lambda name: Benchmark())
    monkeypatch.setenv("JUDGE_API_KEY", KEY)
    return make_samples(6)


@pytest.fixture
def run(service: BatchService, samples: list[Sample], tmp_path: Path) -> Callable[[str], int]:
    """Run one `--batch` action in its own environment, as in a new terminal."""
    answers = tmp_path / "m_answers.jsonl"
    answers.write_text(
        dump_jsonl([Answer(s.sample_id, f"answer {n}") for n, s in enumerate(samples)])
    )

    def action(name: str) -> int:
        words = ["judge", str(answers), "--mini", "--judge", "openai:gpt-4o", "--batch", name]
        words += ["--judge-base-url", service.url, "--cache", str(tmp_path / "c.sqlite")]
        return main([*words, "--retries", "0"])

    return action


def test_submit_status_collect(
    run: Callable[[str], int],
    service: BatchService,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("submit") == 0
    requests = service.requests()
    assert len(requests) == 6
    assert len({request["custom_id"] for request in requests}) == 6
    assert {request["url"] for request in requests} == {"/v1/chat/completions"}
    expected = BUILTIN.judge_question("passport", "Which number?", "answer 0")
    assert requests[0]["body"]["messages"][0]["content"] == expected
    assert run("status") == 0
    assert "in_progress" in capsys.readouterr().out
    assert run("collect") == 1
    assert "have not ended" in capsys.readouterr().err
    service.finish(by_parity)
    assert run("collect") == 0
    found = [v.outcome.value for v in load_verdicts(tmp_path / "m_verdicts.jsonl")]
    assert found == ["respond", "reject"] * 3
    assert not list(tmp_path.glob("*.batch.json*"))
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


def test_submitting_twice_asks_nothing_twice(
    run: Callable[[str], int], service: BatchService, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("submit") == 0
    text = capsys.readouterr().out
    assert "saved by cache 0\n6 calls" in text
    assert run("submit") == 0
    assert "saved by cache 0, in batches already 6\n0 calls" in capsys.readouterr().out
    assert len(service.requests()) == 6


def test_what_failed_or_is_missing_can_be_submitted_again(
    run: Callable[[str], int], service: BatchService, tmp_path: Path
) -> None:
    def result(prompt: str) -> dict[str, Any] | None:
        if "answer 0\n" in prompt:
            return None
        if "answer 1\n" in prompt:
            problem = {"code": "batch_expired", "message": "too late"}
            return {"response": None, "error": problem}
        if "answer 2\n" in prompt:
            return {"response": {"status_code": 400, "body": {"error": {"code": "content_filter"}}}}
        return answered("dunno" if "answer 3\n" in prompt else "reject")

    assert run("submit") == 0
    service.finish(result)
    assert run("collect") == 0
    verdicts = load_verdicts(tmp_path / "m_verdicts.jsonl")
    kinds = ["failed", "failed", "unjudged", "unjudged", "reject", "reject"]
    assert [v.outcome.value for v in verdicts] == kinds
    assert "batch_expired" in verdicts[1].error
    assert run("submit") == 0
    assert len(service.requests()) == 8
    service.finish(by_parity)
    assert run("collect") == 0
    verdicts = load_verdicts(tmp_path / "m_verdicts.jsonl")
    assert [v.outcome.value for v in verdicts] == ["respond", "reject", *kinds[2:]]


DEEP = "[" * 3_000 + "]" * 3_000


@pytest.mark.parametrize(
    ("spoil", "kept"),
    [
        (lambda text: text.replace('"custom_id": "', '"custom_id": "of-another-'), True),
        (lambda text: text[: len(text) // 2], True),
        (lambda text: "", True),
        (lambda text: DEEP + "\n" + text.partition("\n")[2], True),
        (lambda text: f'[1]\n"x"\n{DEEP}\n\x00\n' + text, False),
    ],
)
def test_a_batch_is_kept_until_its_results_match(
    run: Callable[[str], int],
    service: BatchService,
    tmp_path: Path,
    spoil: Callable[[str], str],
    kept: bool,
) -> None:
    assert run("submit") == 0
    service.finish(by_parity)
    (state,) = service.batches.values()
    state["request_counts"] = {"total": 6, "completed": 6, "failed": 0}
    whole = service.files[state["output_file_id"]]
    service.files[state["output_file_id"]] = spoil(whole)
    code = run("collect")
    outcomes = {v.outcome.value for v in load_verdicts(tmp_path / "m_verdicts.jsonl")}
    assert code == (outcomes == {"failed"})
    assert bool(list(tmp_path.glob("*.batch.jsonl"))) == kept
    if kept:
        service.files[state["output_file_id"]] = whole
        assert run("collect") == 0
    found = [v.outcome.value for v in load_verdicts(tmp_path / "m_verdicts.jsonl")]
    assert found == ["respond", "reject"] * 3
    assert not list(tmp_path.glob("*.batch.jsonl"))


@pytest.mark.parametrize(
    "state", ["what?", {"id": 5}, {"request_counts": "many"}, {"errors": {"data": ["no"]}}]
)
def test_an_odd_state_of_a_batch_is_one_message(
    run: Callable[[str], int],
    service: BatchService,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    state: Any,
) -> None:
    assert run("submit") == 0
    (number,) = service.batches
    service.batches[number] = service.batches[number] | state if isinstance(state, dict) else state
    for action in ("status", "collect"):
        assert run(action) == 1
        assert "the batch service refused" in capsys.readouterr().err
    assert list(tmp_path.glob("*.batch.jsonl"))


def test_a_refused_batch_loses_nothing_and_shows_no_key(
    run: Callable[[str], int], service: BatchService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.refuse_batches = True
    assert run("submit") == 1
    text = capsys.readouterr().err
    assert "no credit for ***" in text
    service.refuse_batches = False
    assert run("submit") == 0
    assert len(service.requests()) == 6


@pytest.mark.parametrize("action", ["submit", "status"])
def test_a_batch_whose_reply_was_lost_is_found_again_and_not_paid_for_twice(
    run: Callable[[str], int], service: BatchService, tmp_path: Path, action: str
) -> None:
    service.lose_reply = True
    assert run("submit") == 1
    service.lose_reply = False
    assert run(action) == 0
    assert len(service.requests()) == 6
    service.finish(by_parity)
    assert run("collect") == 0
    found = [v.outcome.value for v in load_verdicts(tmp_path / "m_verdicts.jsonl")]
    assert found == ["respond", "reject"] * 3


def test_a_batch_that_was_never_made_is_no_batch(
    run: Callable[[str], int], service: BatchService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.refuse_batches = True
    assert run("submit") == 1
    capsys.readouterr()
    assert run("collect") == 1
    assert "no batch was submitted" in capsys.readouterr().err


def test_collecting_what_was_never_submitted_is_an_error(
    run: Callable[[str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("collect") == 1
    assert "no batch was submitted" in capsys.readouterr().err


def test_large_runs_are_split_and_small_judges_have_no_batches(
    service: BatchService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_REQUESTS", 4)
    options = ModelOptions(base_url=service.url, api_key=KEY)
    judge = build_judge("gpt-4o", BUILTIN, options, cache=None)
    submitted = JudgeBatches(judge, tmp_path / "v.jsonl")
    submitted.submit([Question("a", "a", "q", f"answer {n}") for n in range(10)])
    sizes = [len(service.files[b["input_file_id"]].splitlines()) for b in service.batches.values()]
    assert sizes == [4, 4, 2]
    monkeypatch.setattr(batches, "MAX_BYTES", 10)
    submitted.submit([Question("a", "a", "q", f"more {n}") for n in range(2)])
    assert len(service.batches) == 5
    from spy_plugin.errors import JudgeSetupError

    with pytest.raises(JudgeSetupError, match="no batches"):
        JudgeBatches(build_judge("rules", BUILTIN), tmp_path / "w.jsonl")


def test_extra_fields_stand_in_the_body_itself(service: BatchService, tmp_path: Path) -> None:
    options = ModelOptions(base_url=service.url, api_key=KEY, structured="choice")
    judge = build_judge("m", BUILTIN, options)
    JudgeBatches(judge, tmp_path / "v").submit([Question("a", "a", "q", "batch only answer")])
    (request,) = service.requests()
    assert "extra_body" not in request["body"]
    assert request["body"]["structured_outputs"]["choice"] == ["respond", "reject"]
    assert Outcome.REJECT.value in request["body"]["structured_outputs"]["choice"]
