"""`read_completion`: only a finished answer is an answer, and refusals are told from failures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import Fault, Reply
from spy_plugin.models.completions import read_completion
from spy_plugin.models.refusals import filtered_request
from spy_plugin.models.reply_body import NoCompletionError
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


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "It "}, {"type": "text", "text": "is."}],
        ["It ", "is."],
        {"type": "text", "text": "It is."},
        [{"type": "text", "text": {"value": "It is.", "annotations": []}}],
        [{"type": "output_text", "text": "It is."}],
    ],
    ids=["parts", "texts", "one part", "assistants", "responses"],
)
def test_content_in_parts_is_joined(content: Any) -> None:
    assert read(content).text == "It is."


@pytest.mark.parametrize(
    "thought",
    [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Shall I?"}]},
        {"type": "thinking", "thinking": "Shall I?"},
        {"type": "reasoning", "text": "Shall I?"},
    ],
    ids=["Mistral", "Anthropic", "text"],
)
def test_thoughts_among_the_parts_are_no_part_of_the_answer(thought: Any) -> None:
    reply = read([thought, {"type": "text", "text": "It is."}])
    assert (reply.text, reply.thoughts) == ("It is.", "Shall I?")


def test_a_refusal_among_the_parts_is_what_the_model_said() -> None:
    reply = read([{"type": "refusal", "refusal": "I must not tell."}])
    assert (reply.text, reply.outcome, reply.finish_reason) == ("I must not tell.", None, "refusal")


@pytest.mark.parametrize(
    ("finish", "kept"),
    [
        ("COMPLETE", "stop"),
        ("eos", "stop"),
        ("model_length", "length"),
        ("MAX_TOKENS", "length"),
        ("model_context_window_exceeded", "length"),
    ],
)
def test_finish_reasons_of_other_providers(finish: str, kept: str) -> None:
    assert read("It is 12.", finish).finish_reason == kept


@pytest.mark.parametrize(
    ("choice", "body"),
    [
        ({"finish_reason": "error", "error": {"code": 502, "message": "it died"}}, {}),
        ({"finish_reason": None, "error": {"code": 502, "message": "it died"}}, {}),
        ({"finish_reason": None}, {"error": {"code": 502, "message": "it died"}}),
    ],
    ids=["OpenRouter", "without a reason", "beside the choices"],
)
def test_text_beside_an_error_broke_off(choice: Any, body: Any) -> None:
    broken = {"choices": [{"message": {"content": "The plate is"}} | choice]} | body
    with pytest.raises(NoCompletionError, match=r"error 502 .*it died"):
        read_completion("k", broken)


def test_an_empty_error_beside_a_finished_answer_is_none() -> None:
    choices = [{"message": {"content": "no"}, "finish_reason": "stop"}]
    reply = read_completion("k", {"choices": choices, "error": {"code": 0, "message": "success"}})
    assert (reply.text, reply.outcome) == ("no", None)


@pytest.mark.parametrize("code", [401, "401"])
def test_an_error_that_every_request_gets_says_so(code: Any) -> None:
    reply = read_completion("k", [{"error": {"code": code, "message": "no such key"}}])
    assert (reply.outcome, reply.fault) == (Outcome.FAILED, Fault.SETUP)
    assert reply.error.endswith("error 401 in place of a choice: no such key")


def test_what_a_server_says_in_a_form_of_its_own_is_shown() -> None:
    body = {"choices": None, "base_resp": {"status_code": 1004, "status_msg": "login fail"}}
    with pytest.raises(NoCompletionError, match="login fail"):
        read_completion("k", body)


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
        "ContentFilter",
        "content-filter",
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
