"""`reply_body`: JSON and streams as servers really send them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spy_plugin.models.completions import read_completion
from spy_plugin.models.reply_body import NoCompletionError, parse_body

DONE = "data: [DONE]\n\n"


def part(delta: dict[str, Any], finish: str | None = None, **choice: Any) -> str:
    """An event of a stream."""
    choices = [{"delta": delta, "finish_reason": finish} | choice]
    return f"data: {json.dumps({'model': 'm', 'choices': choices})}\n\n"


def said(stream: str) -> tuple[str, str]:
    """The text and the thoughts in a stream."""
    reply = read_completion("k", parse_body(stream.encode()))
    return reply.text, reply.thoughts


def test_a_byte_order_mark_is_left_out() -> None:
    assert parse_body(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert said("\ufeff" + part({"content": "no"}, "stop")) == ("no", "")


def test_a_web_page_and_nothing_are_called_so() -> None:
    with pytest.raises(NoCompletionError, match="a web page, not JSON: <html>Log in"):
        parse_body(b"<html>Log in</html>")
    with pytest.raises(NoCompletionError, match=r"answer is empty$"):
        parse_body(b" \n")


def test_only_the_first_choice_of_a_stream_is_read() -> None:
    stream = part({"content": "one"}) + part({"content": "two"}, index=1) + part({}, "stop")
    assert said(stream + DONE) == ("one", "")


def test_a_whole_message_at_the_end_of_a_stream_is_not_said_twice() -> None:
    whole = part({}, "stop", message={"role": "assistant", "content": "no"})
    assert said(part({"content": "n"}) + part({"content": "o"}) + whole) == ("no", "")


def test_thoughts_in_a_stream_are_kept_apart() -> None:
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    for delta in ({"content": thought}, {"reasoning_content": "hm"}, {"reasoning": "hm"}):
        assert said(part(delta) + part({"content": "no"}, "stop")) == ("no", "hm")


def test_a_character_whose_halves_came_in_two_parts_is_whole() -> None:
    halves = part({"content": "\ud83d"}) + part({"content": "\ude42"}, "stop")
    assert said(halves) == ("\U0001f642", "")


@pytest.mark.parametrize(
    "event",
    [
        'event: error\ndata: {"type": "overloaded", "message": "it died"}',
        'data: {"object": "error", "message": "it died", "code": 500}',
        'error: {"code": 500, "message": "it died"}',
        "event: error\ndata: it died",
        'data: {"choices": [{"delta": {}, "finish_reason": "error", "error": "it died"}]}',
    ],
    ids=["event", "vLLM", "llama.cpp", "plain text", "OpenRouter"],
)
def test_text_before_an_error_in_a_stream_is_no_answer(event: str) -> None:
    with pytest.raises(NoCompletionError, match="it died"):
        said(part({"content": "The plate is"}) + event + "\n\n" + DONE)
