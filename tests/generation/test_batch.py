"""Generating through the Batch API, against a local server that implements it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from spy_plugin.benchmark.records import Outcome, Sample, last_records
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.generation.batch import AnswerBatches, batch_model
from spy_plugin.models.build import build_model
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.pictures import data_url
from spy_plugin.runs import batches
from spy_plugin.runs.answer_file import AnswerFile, StoredAnswer
from spy_plugin.runs.metadata import RunMetadata
from tests.models.batch_server import BatchService, answered
from tests.models.faulty_server import KEY

STEM = "GPT-4o-2024-11-20_SPYBench_MINI"
COUNT = 12
MODEL = "gpt-4o-2024-11-20"
"""The name of the registry stands for it."""


@pytest.fixture(scope="module")
def mini() -> list[Sample]:
    return list(open_benchmark(MINI).samples())[:COUNT]


@pytest.fixture
def service(httpserver: HTTPServer) -> BatchService:
    return BatchService(httpserver)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", KEY)
    return tmp_path / "outputs" / f"{STEM}_answers.jsonl"


@pytest.fixture
def run(service: BatchService, out: Path) -> Callable[..., int]:
    """Run one command in its own environment, as in a new terminal."""

    def action(*more: str, model: str = "gpt-4o") -> int:
        words = ["generate", "--mini", "--backend", "openai", "--model", model]
        words += ["--limit", str(COUNT), "--base-url", service.url, "--key-variable", "MY_KEY"]
        return main([*words, "--retries", "0", *more])

    return action


def records(out: Path) -> dict[str, StoredAnswer]:
    return last_records(out, StoredAnswer)[0]


def echo(prompt: str) -> dict[str, Any]:
    return answered(f"said {len(prompt)}")


def test_submit_status_collect(
    run: Callable[..., int],
    service: BatchService,
    out: Path,
    mini: list[Sample],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--batch", "submit") == 0
    text = capsys.readouterr().out
    assert "12 samples, 12 to ask, 0 in batches already" in text
    assert "12 calls, about" in text
    assert text.index("up to about $") < text.index("batch batch-0: 12 requests")
    requests = {request["custom_id"]: request for request in service.requests()}
    assert set(requests) == {sample.sample_id for sample in mini}
    benchmark = open_benchmark(MINI)
    for sample in mini:
        body = requests[sample.sample_id]["body"]
        assert (body["model"], body["temperature"], body["max_tokens"]) == (MODEL, 0.0, 512)
        picture = {"url": data_url(benchmark.image_file(sample))}
        assert body["messages"] == [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": picture},
                    {"type": "text", "text": sample.prompt},
                ],
            }
        ]
    assert run("--batch", "status") == 0
    assert "in_progress" in capsys.readouterr().out
    assert run("--batch", "collect") == 1
    assert "have not ended" in capsys.readouterr().err
    service.finish(echo)
    assert run("--batch", "collect") == 0
    assert "answered 12, filtered 0, failed 0 of 860 samples" in capsys.readouterr().out
    found = records(out)
    assert list(found) == [sample.sample_id for sample in mini]
    assert [a.response for a in found.values()] == [f"said {len(s.prompt)}" for s in mini]
    assert {a.finish_reason for a in found.values()} == {"stop"}
    assert not list(out.parent.glob("*.batch.jsonl"))
    about = RunMetadata.read(out.with_name(f"{STEM}_run.json"))
    assert about.usage["generate"].requests == 12
    assert about.options["decoding"]["max_tokens"] == 512
    for path in out.parent.iterdir():
        assert KEY.encode() not in path.read_bytes()
    assert run("--batch", "submit") == 0
    assert "nothing is in a batch" in capsys.readouterr().out
    assert not list(out.parent.glob("*.batch.jsonl"))


@pytest.mark.parametrize("reply", ["<html>", "[1, 2]", '"x"', "{}"])
def test_an_upload_that_is_answered_by_something_else_is_one_message(
    reply: str,
    run: Callable[..., int],
    httpserver: HTTPServer,
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    httpserver.clear()
    kind = "text/html" if reply == "<html>" else "application/json"
    httpserver.expect_request("/v1/files").respond_with_data(reply, content_type=kind)
    assert run("--batch", "submit") == 1
    assert "the batch service refused: ValueError: its reply to a file names no id. Check" in (
        capsys.readouterr().err
    )
    assert not out.exists()


def test_every_outcome_is_that_of_a_live_reply(
    run: Callable[..., int], service: BatchService, out: Path, mini: list[Sample]
) -> None:
    def body(**message: Any) -> dict[str, Any]:
        reason = message.pop("finish_reason", "stop")
        choice = {"message": {"role": "assistant"} | message, "finish_reason": reason}
        completed = {"model": "gpt-4o", "choices": [choice]}
        return {"response": {"status_code": 200, "body": completed}}

    results: list[dict[str, Any] | None] = [
        body(content=None, refusal="I cannot help."),
        body(content="half", finish_reason="content_filter"),
        {"response": {"status_code": 400, "body": {"error": {"code": "content_filter"}}}},
        {"response": None, "error": {"code": "batch_expired", "message": f"late {KEY}"}},
        body(content="<think>hm</think>Blue."),
        body(content="cut", finish_reason="length"),
        body(content=None),
        {"response": {"status_code": 200, "body": "no"}},
        None,
        {"response": {"status_code": 200, "body": []}},
        body(content=""),
        body(content="unfinished", finish_reason="tool_calls"),
    ]
    given = iter(results)
    assert run("--batch", "submit") == 0
    asked = [request["custom_id"] for request in service.requests()]
    service.finish(lambda prompt: next(given))
    assert run("--batch", "collect") == 0
    found = [records(out)[key] for key in asked]
    failed, filtered = Outcome.FAILED, Outcome.FILTERED
    expected = [None, filtered, filtered, failed, None, None, *[failed] * 4, None, failed]
    assert [answer.outcome for answer in found] == expected
    assert (found[0].response, found[0].finish_reason) == ("I cannot help.", "refusal")
    assert (found[4].response, found[4].thoughts) == ("Blue.", "hm")
    assert (found[5].response, found[5].finish_reason) == ("cut", "length")
    assert "batch_expired" in found[3].error
    assert KEY not in found[3].error
    assert found[8].error == "the batch holds no result for this question"
    assert run("--batch", "submit") == 0
    again = [request["custom_id"] for request in service.requests()][12:]
    assert sorted(again) == sorted(a.sample_id for a in found if a.outcome is failed)


def test_files_are_split_by_size_and_nothing_is_asked_twice(
    run: Callable[..., int],
    service: BatchService,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(batches, "MAX_REQUESTS", 5)
    assert run("--batch", "submit") == 0
    sizes = [len(service.files[b["input_file_id"]].splitlines()) for b in service.batches.values()]
    assert sizes == [5, 5, 2]
    assert run("--batch", "submit") == 0
    assert "0 to ask, 12 in batches already" in capsys.readouterr().out
    assert len(service.batches) == 3
    service.finish(echo)
    assert run("--batch", "collect") == 0
    assert len(records(out)) == 12
    monkeypatch.setattr(batches, "MAX_REQUESTS", 50_000)
    monkeypatch.setattr(batches, "MAX_BYTES", 1000)
    assert run("--batch", "submit", "--limit", "14") == 0
    assert len(service.batches) == 5


@pytest.mark.parametrize("lost", [True, False])
def test_a_refused_or_lost_batch_loses_nothing_and_shows_no_key(
    run: Callable[..., int],
    service: BatchService,
    out: Path,
    lost: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.lose_reply, service.refuse_batches = lost, not lost
    assert run("--batch", "submit") == 1
    error = capsys.readouterr().err
    assert "Check MY_KEY" in error
    assert KEY not in error
    service.lose_reply = service.refuse_batches = False
    assert run("--batch", "submit") == 0
    assert len(service.requests()) == 12
    service.finish(echo)
    assert run("--batch", "collect") == 0
    assert {a.outcome for a in records(out).values()} == {None}


def test_a_service_that_cannot_be_reached_leaves_nothing(
    run: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--batch", "submit", "--base-url", "http://127.0.0.1:9/v1") == 1
    assert "the batch service refused" in capsys.readouterr().err
    assert not out.parent.exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"custom_id": "', '"custom_id": "of-another-'),
        lambda text: text[: len(text) // 2],
        lambda text: "",
    ],
)
def test_a_batch_is_kept_until_its_results_match(
    run: Callable[..., int], service: BatchService, out: Path, spoil: Callable[[str], str]
) -> None:
    assert run("--batch", "submit") == 0
    service.finish(echo)
    (state,) = service.batches.values()
    state["request_counts"] = {"total": 12, "completed": 12, "failed": 0}
    whole = service.files[state["output_file_id"]]
    service.files[state["output_file_id"]] = spoil(whole)
    run("--batch", "collect")
    assert list(out.parent.glob("*.batch.jsonl"))
    service.files[state["output_file_id"]] = whole
    assert run("--batch", "collect") == 0
    assert {a.outcome for a in records(out).values()} == {None}
    assert not list(out.parent.glob("*.batch.jsonl"))


def test_results_are_used_under_their_own_conditions_only(
    run: Callable[..., int],
    service: BatchService,
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--batch", "submit") == 0
    service.finish(echo)
    assert run("--batch", "collect", "--max-tokens", "64") == 1
    assert "was begun by openai:gpt-4o-2024" in capsys.readouterr().err
    assert run("--batch", "collect") == 0
    assert run("--batch", "submit", "--max-tokens", "64") == 1
    assert "max_tokens=512" in capsys.readouterr().err


def test_an_answer_that_came_in_the_meantime_is_kept(
    run: Callable[..., int], service: BatchService, out: Path, mini: list[Sample]
) -> None:
    assert run("--batch", "submit") == 0
    earlier = {"sample_id": mini[0].sample_id, "response": "live", "answered_by": "served"}
    out.write_text(json.dumps(earlier) + "\n")
    service.finish(echo)
    run("--batch", "collect", "--other-server")
    assert records(out)[mini[0].sample_id].response == "live"
    assert len(records(out)) == 12


def test_a_field_that_the_server_refused_is_left_out_of_the_next_batch(
    run: Callable[..., int], service: BatchService, out: Path
) -> None:
    message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    refusal = {"error": {"code": "unsupported_parameter", "message": message}}
    assert run("--batch", "submit") == 0
    service.finish(lambda prompt: {"response": {"status_code": 400, "body": refusal}})
    assert run("--batch", "collect") == 1
    assert run("--batch", "submit") == 0
    body = service.requests()[12]["body"]
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 512
    service.finish(echo)
    assert run("--batch", "collect") == 0


def test_a_dry_run_needs_no_key_and_leaves_nothing(
    run: Callable[..., int],
    service: BatchService,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MY_KEY")
    assert run("--dry-run", "--price", "1", "0") == 0
    text = capsys.readouterr().out
    assert "at most 6,144 out" in text
    assert "an estimate" in text
    assert not out.parent.exists()
    assert not service.files


def test_a_picture_that_cannot_be_read_is_left_out_and_stays_open(
    service: BatchService,
    benchmark: Benchmark,
    pictures: Path,
    open_file: Callable[..., AnswerFile],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(pictures, tmp_path / "broken")
    (tmp_path / "broken" / "2.png").write_bytes(b"no picture")
    damaged = replace(benchmark, image_root=tmp_path / "broken")
    options = ModelOptions(base_url=service.url, api_key=KEY)
    model = batch_model(build_model("openai", "m", options))
    samples = list(damaged.samples())
    AnswerBatches(model, open_file(model)).submit(samples, damaged)
    broken = {sample.sample_id for sample in samples if sample.image_path == "2.png"}
    asked = {request["custom_id"] for request in service.requests()}
    assert asked == {sample.sample_id for sample in samples} - broken
    assert len(broken) == 10
    assert sum("is not submitted" in message for message in caplog.messages) == 10
    service.finish(echo)
    AnswerBatches(model, open_file(model)).collect()
    assert set(open_file(model).records) == asked


@pytest.mark.parametrize("action", ["status", "collect"])
def test_without_a_batch_nothing_is_written(
    run: Callable[..., int], out: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--batch", action) == 1
    assert "no batch was submitted" in capsys.readouterr().err
    assert not out.parent.exists()


def test_other_backends_have_no_batches(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "--mini", "--backend", "policy", "--model", "spy-oracle"]
    assert main([*words, "--batch", "submit"]) == 1
    assert "Use --backend openai" in capsys.readouterr().err
    assert not out.parent.exists()
