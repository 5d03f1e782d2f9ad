"""`read_completion`: only a finished answer is an answer, and refusals are told from failures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import Reply
from spy_plugin.models.completions import NoCompletionError, read_completion
from spy_plugin.models.refusals import filtered_request
from tests.models.faulty_server import completion


def read(content: Any, finish: Any = "stop", **message: Any) -> Reply:
    return read_completion("k", json.loads(completion(content, finish=finish, **message).body))


@pytest.mark.parametrize("finish", ["stop", None, "eos_token", "length"])
def test_a_finished_answer_is_an_answer(finish: str | None) -> None:
    reply = read("It is 12.", finish)
    assert (reply.text, reply.outcome) == ("It is 12.", None)


@pytest.mark.parametrize(
    "finish",
    ["error", "abort", "network_error", "insufficient_system_resource", "tool_calls", "novel"],
)
def test_an_unfinished_answer_is_asked_for_again(finish: str) -> None:
    with pytest.raises(NoCompletionError, match=finish):
        read("It is", finish)


def test_content_in_parts_is_joined() -> None:
    assert read([{"type": "text", "text": "It "}, {"type": "text", "text": "is."}]).text == "It is."


def test_reasoning_alone_at_the_limit_has_failed() -> None:
    reply = read(None, "length", reasoning_content="Let me see")
    assert (reply.outcome, reply.thoughts) == (Outcome.FAILED, "Let me see")
    assert "limit of new tokens" in reply.error


def test_reasoning_beside_an_answer_is_kept_apart() -> None:
    reply = read("It is 12.", reasoning_content="Shall I?")
    assert (reply.text, reply.thoughts, reply.outcome) == ("It is 12.", "Shall I?", None)


@pytest.mark.parametrize(
    "finish",
    [
        "content_filter",
        "content_filter: PROHIBITED_CONTENT",
        "SAFETY",
        "SPII",
        "sensitive",
        "refusal",
        "guardrail_intervened",
    ],
)
def test_a_filtered_answer_is_told_by_its_finish_reason(finish: str) -> None:
    reply = read("half", finish)
    assert (reply.text, reply.outcome) == ("", Outcome.FILTERED)


@pytest.mark.parametrize(
    "body",
    [
        {"code": "data_inspection_failed", "message": "inappropriate"},
        {"code": "content_policy_violation"},
        {"code": "invalid_prompt"},
        {"error": {"code": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        {"code": 403, "message": "flagged", "metadata": {"reasons": ["privacy"]}},
        {"promptFeedback": {"blockReason": "SAFETY"}},
        {"error": {"code": "1301", "message": "sensitive"}},
    ],
)
def test_a_refused_request_is_told_by_the_body(body: Any) -> None:
    assert filtered_request(body)


@pytest.mark.parametrize(
    "body",
    [None, "content_filter", {"code": 403, "message": "no access"}, {"message": "content_filter"}],
)
def test_other_errors_are_not_refusals(body: Any) -> None:
    assert not filtered_request(body)


def test_an_error_in_place_of_choices_keeps_the_servers_words() -> None:
    def body(code: int) -> dict[str, Any]:
        return {"choices": None, "error": {"code": code, "message": "Insufficient credits"}}

    reply = read_completion("k", body(402))
    assert reply.outcome is Outcome.FAILED
    assert "402" in reply.error
    assert "Insufficient credits" in reply.error
    with pytest.raises(NoCompletionError, match="Insufficient credits"):
        read_completion("k", body(429))
    filtered = {"choices": None, "error": {"code": "content_filter"}}
    assert read_completion("k", filtered).outcome is Outcome.FILTERED


def test_tokens_that_are_not_numbers_are_not_counted() -> None:
    body = json.loads(completion("yes").body) | {"usage": {"prompt_tokens": True}}
    assert read_completion("k", body).input_tokens == 0
