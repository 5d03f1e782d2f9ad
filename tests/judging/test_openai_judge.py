"""A judge behind a real server that misbehaves."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging import Judge, Judgement, Question
from spy_plugin.models import concurrency
from tests.models.faulty_server import KEY, FaultyServer, Reply, completion, error

Serve = Callable[..., FaultyServer]
JudgeAt = Callable[..., Judge]


def verdicts(judge: Judge, questions: list[Question]) -> list[Judgement]:
    found = dict(judge.ask(questions))
    assert sorted(found) == list(range(len(questions)))
    return [found[index] for index in range(len(questions))]


def test_each_question_gets_its_own_verdict(
    serve: Serve, judge_at: JudgeAt, questions: list[Question]
) -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        odd = any(f"X{n}." in body["messages"][0]["content"] for n in (1, 3, 5, 7, 9))
        return completion("Reject" if odd else "respond")

    found = verdicts(judge_at(serve(script)), questions)
    assert [j.outcome for j in found] == [Outcome.RESPOND, Outcome.REJECT] * 5
    assert [j.raw for j in found] == ["respond", "Reject"] * 5


def test_the_prompt_is_the_protocols_and_sampling_is_greedy(
    serve: Serve, judge_at: JudgeAt, questions: list[Question]
) -> None:
    from spy_plugin.benchmark.protocol import BUILTIN

    server = serve(lambda *_: completion("respond"))
    verdicts(judge_at(server), questions[:1])
    (body,) = server.requests
    expected = BUILTIN.judge_question("passport", "Which number?", "It is X0.")
    assert body["messages"] == [{"role": "user", "content": expected}]
    assert (body["model"], body["temperature"]) == ("served", 0.0)


@pytest.mark.parametrize(
    "first",
    [
        error(429, "slow down"),
        error(429, "slow down", {"retry-after-ms": "5"}),
        error(500, "oops"),
        Reply(503, "<html>gateway</html>"),
        Reply(fault="reset"),
        Reply(200, '{"choices": [{"message"'),
        Reply(200, '{"choices": []}'),
        Reply(200, '{"choices": null}'),
        Reply(200, "[]"),
        Reply(200, "all fine here", {"Content-Type": "text/plain"}),
        completion(""),
        completion(None),
    ],
    ids=lambda reply: f"{reply.status}-{reply.fault or reply.body[:20]}",
)
def test_a_passing_fault_costs_an_attempt_and_no_verdict(
    serve: Serve, judge_at: JudgeAt, questions: list[Question], first: Reply
) -> None:
    server = serve(lambda _, attempt: first if attempt == 1 else completion("reject"))
    found = verdicts(judge_at(server), questions[:3])
    assert [j.outcome for j in found] == [Outcome.REJECT] * 3
    assert set(server.attempts.values()) == {2}


@pytest.mark.parametrize(
    "always",
    [
        error(429, "slow down"),
        error(500, "oops"),
        Reply(fault="reset"),
        Reply(200, '{"choices": [{"mess'),
        Reply(200, '{"choices": []}'),
        completion(""),
        error(400, "context too long"),
    ],
    ids=lambda reply: f"{reply.status}-{reply.fault or reply.body[:20]}",
)
def test_a_lasting_fault_is_a_failure_with_a_reason(
    serve: Serve, judge_at: JudgeAt, questions: list[Question], always: Reply
) -> None:
    found = verdicts(judge_at(serve(lambda *_: always)), questions[:3])
    assert [j.outcome for j in found] == [Outcome.FAILED] * 3
    assert all(j.error for j in found)


def test_retry_after_is_waited_for(
    serve: Serve, judge_at: JudgeAt, questions: list[Question]
) -> None:
    late = error(429, "slow down", {"Retry-After": "1"})
    server = serve(lambda _, attempt: late if attempt == 1 else completion("respond"))
    start = time.monotonic()
    found = verdicts(judge_at(server), questions[:1])
    assert found[0].outcome is Outcome.RESPOND
    assert time.monotonic() - start >= 1


def test_a_server_that_hangs_fails_its_question_and_no_other(
    serve: Serve, judge_at: JudgeAt, questions: list[Question]
) -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        hang = "X4." in body["messages"][0]["content"]
        return Reply(fault="hang") if hang else completion("respond")

    found = verdicts(judge_at(serve(script), timeout=1.5, retries=1), questions)
    assert [j.outcome for j in found].count(Outcome.RESPOND) == 9
    assert found[4].outcome is Outcome.FAILED
    assert "Timeout" in found[4].error


@pytest.mark.parametrize(
    "reply",
    [
        completion("I would rather not say."),
        completion(None, refusal="I can't judge this; I reject the task."),
        completion("", finish="content_filter"),
        error(400, "flagged", code="content_filter"),
    ],
    ids=["garbage", "refusal", "filtered answer", "filtered question"],
)
def test_a_judge_that_does_not_judge_is_unjudged(
    serve: Serve, judge_at: JudgeAt, questions: list[Question], reply: Reply
) -> None:
    server = serve(lambda *_: reply)
    (found,) = verdicts(judge_at(server), questions[:1])
    assert found.outcome is Outcome.UNJUDGED
    assert found.error
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_ends_the_run_at_once(
    serve: Serve, judge_at: JudgeAt, questions: list[Question], status: int
) -> None:
    server = serve(lambda *_: error(status, f"no access with {KEY}"))
    with pytest.raises(JudgeSetupError, match="JUDGE_API_KEY") as caught:
        list(judge_at(server, concurrency=1).ask(questions))
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert len(server.requests) == 1


def test_a_model_that_takes_no_temperature_is_asked_without(
    serve: Serve, judge_at: JudgeAt, questions: list[Question]
) -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        for name in ("temperature", "max_tokens"):
            if name in body:
                return error(400, f"Unsupported parameter: '{name}'", param=name)
        return completion("respond")

    server = serve(script)
    found = verdicts(judge_at(server, concurrency=1, retries=3), questions)
    assert {j.outcome for j in found} == {Outcome.RESPOND}
    assert len(server.requests) == len(questions) + 2


@pytest.mark.parametrize(
    ("structured", "field"), [("choice", "structured_outputs"), ("json", "response_format")]
)
def test_structured_output_is_asked_for_when_told(
    serve: Serve, judge_at: JudgeAt, questions: list[Question], structured: str, field: str
) -> None:
    text = '{"label": "reject"}' if structured == "json" else "reject"
    server = serve(lambda *_: completion(text))
    judge = judge_at(server, structured=structured)
    expected = Judgement(Outcome.REJECT, raw=text, answered_by="served")
    assert verdicts(judge, questions[:1])[0] == expected
    assert "respond" in json.dumps(server.requests[0][field])
    assert judge.fingerprint != judge_at(server).fingerprint


def test_concurrency_is_bounded(serve: Serve, judge_at: JudgeAt, questions: list[Question]) -> None:
    def script(*_: Any) -> Reply:
        time.sleep(0.03)
        return completion("respond")

    server = serve(script)
    verdicts(judge_at(server, concurrency=3), questions)
    assert 1 < server.most_at_once <= 3


def test_verdicts_come_before_the_last_question_is_answered(
    serve: Serve, judge_at: JudgeAt, questions: list[Question]
) -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        slow = "X9." in body["messages"][0]["content"]
        return Reply(fault="hang") if slow else completion("respond")

    stream = judge_at(serve(script), timeout=20).ask(questions)
    assert len([next(stream) for _ in range(9)]) == 9
    stream.close()
    assert not [t for t in threading.enumerate() if t.name == concurrency.__name__]


def test_it_works_inside_a_running_event_loop_and_in_threads(
    serve: Serve, judge_at: JudgeAt, questions: list[Question]
) -> None:
    judge = judge_at(serve(lambda *_: completion("respond")))

    async def inside() -> list[Judgement]:
        return verdicts(judge, questions)

    with ThreadPoolExecutor(1) as thread:  # Playwright's loop runs in this one, once it was used
        assert len(thread.submit(asyncio.run, inside()).result()) == 10
    found: list[list[Judgement]] = []
    threads = [
        threading.Thread(target=lambda: found.append(verdicts(judge, questions))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(part) for part in found] == [10, 10, 10]


def test_another_model_than_the_asked_is_reported(
    serve: Serve, judge_at: JudgeAt, questions: list[Question], caplog: pytest.LogCaptureFixture
) -> None:
    def script(*_: Any) -> Reply:
        body = json.loads(completion("respond").body)
        return Reply(body=json.dumps(body | {"model": "something-else"}))

    verdicts(judge_at(serve(script)), questions)
    assert caplog.text.count("something-else answered") == 1


def test_a_server_that_only_fails_is_given_up(
    serve: Serve, judge_at: JudgeAt, questions: list[Question]
) -> None:
    many = [Question("a", "a", "q", f"answer {n}") for n in range(400)]
    server = serve(lambda *_: error(500, "down"))
    stream = judge_at(server, retries=0).ask(many)
    with pytest.raises(JudgeSetupError, match="in a row"):
        list(stream)
    assert len(server.requests) < 150


def test_no_error_or_log_shows_the_key(
    serve: Serve, judge_at: JudgeAt, questions: list[Question], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(lambda *_: error(400, f"your header was Authorization: Bearer {KEY}"))
    found = verdicts(judge_at(server), questions)
    assert all("***" in j.error and KEY not in j.error for j in found)
    assert KEY not in caplog.text
