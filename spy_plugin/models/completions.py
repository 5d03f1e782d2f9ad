"""Read what a server sends, a chat completion or a stream of its parts, into a reply.

Nothing that a server sends is trusted: any field may be missing, null or of another type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import LENGTH, REFUSAL, Reply
from spy_plugin.models.refusals import filtered_reply, filtered_request

_STOP = "stop"
_FINISHED = (_STOP, LENGTH, "")
_SPELLINGS = {
    **dict.fromkeys(("stop", "eos_token", "stop_sequence", "end_turn"), _STOP),
    **dict.fromkeys(("length", "max_tokens"), LENGTH),
}
"""Finish reasons of servers -> the API's."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_NOT_WORTH_ANOTHER_ATTEMPT = (400, 401, 402, 403, 404, 413, 422)
FILTERED_QUESTION = "the provider filtered the question"
_LONGEST_NAME = 200


class NoCompletionError(Exception):
    """The server reported success without text: worth another attempt."""


def parse_body(content: bytes) -> object:
    """Parse the body of a successful response: one JSON object, or a stream of events.

    Returns:
        The completion as plain JSON; a stream's parts are put together.

    Raises:
        NoCompletionError: it is neither.
    """
    text = content.decode("utf-8", "replace").strip()
    if text.startswith(("data:", "event:", "id:", "retry:", ":")):
        return _assembled(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoCompletionError(f"the server's answer is not JSON ({error})") from None


def _assembled(stream: str) -> dict[str, Any]:
    """Put the parts of a streamed completion together, as if the server had not streamed.

    Raises:
        NoCompletionError: a part is not JSON, or the stream ends before its last part.
    """
    whole: dict[str, Any] = {}
    message: dict[str, str] = {}
    finish: object = None
    ended = False
    for event in _events(stream):
        if event == "[DONE]":
            ended = True
            break
        try:
            part = json.loads(event)
        except (ValueError, RecursionError) as error:
            raise NoCompletionError(f"a part of the stream is not JSON ({error})") from None
        if not isinstance(part, Mapping):
            continue
        whole |= {name: value for name, value in part.items() if value is not None}
        choices = part.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping):
            continue
        finish = choice.get("finish_reason") or finish
        said = choice.get("delta") or choice.get("message")
        for name, value in said.items() if isinstance(said, Mapping) else ():
            text = _joined(value)
            if text is not None and name != "role":
                message[name] = message.get(name, "") + text
    if whole.get("error"):
        return whole | {"choices": None}
    if not ended and finish is None:
        raise NoCompletionError("the stream ended before the answer did")
    return whole | {"choices": [{"message": message, "finish_reason": finish}]}


def _events(stream: str) -> Iterator[str]:
    """Yield the data of each server-sent event."""
    data: list[str] = []
    for line in [*_LINE_END.split(stream), ""]:
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


def read_completion(
    key: str, body: object, *, limit: int | None = None, text_required: bool = False
) -> Reply:
    """The reply in a chat completion, as a server or a batch's result file gives it.

    Only a finished answer is an answer: one that ended by itself, or that was cut at the limit of
    new tokens. A model that declined in the API's own way has answered with its words of refusal.

    Args:
        key: The conversation's.
        body: The completion as plain JSON.
        limit: The limit of new tokens that was asked for, for messages.
        text_required: See `Conversation`.

    Raises:
        NoCompletionError: it holds no choice, the choice is not finished, or it holds no text.
    """
    body = body if isinstance(body, Mapping) else {}
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        return _without_choice(key, body)
    reason = _finish_reason(choice.get("finish_reason"))
    message, usage = (
        found if isinstance(found, Mapping) else {}
        for found in (choice.get("message"), body.get("usage"))
    )
    text, refusal = _joined(message.get("content")), message.get("refusal")
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    reply = Reply(
        key,
        text=text or "",
        thoughts=thoughts if isinstance(thoughts, str) else "",
        finish_reason=reason,
        answered_by=str(body.get("model") or "")[:_LONGEST_NAME],
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )
    if filtered_reply(reason):
        error = f"the provider filtered the answer ({reason})"
        return replace(reply, text="", outcome=Outcome.FILTERED, error=error)
    if refusal:
        return replace(reply, text=text or str(refusal), finish_reason=REFUSAL)
    if reason not in _FINISHED:
        raise NoCompletionError(f"the answer is not finished (finish_reason {reason})")
    reply = reply.without_thoughts(limit)
    if reply.outcome is not None:
        return reply
    wanted = text_required and not reply.text.strip()
    if text is None or wanted or (not text and reason != _STOP):
        raise NoCompletionError(f"the answer is empty (finish_reason {reason or 'missing'})")
    return reply


def _without_choice(key: str, body: Mapping[str, Any]) -> Reply:
    """What became of a request whose reply holds an error in place of choices.

    Raises:
        NoCompletionError: another attempt may end better.
    """
    if filtered_request(body):
        return Reply(key, outcome=Outcome.FILTERED, error=FILTERED_QUESTION)
    error = body.get("error")
    if not error:
        raise NoCompletionError("the server's answer holds no choice")
    code = error.get("code") if isinstance(error, Mapping) else None
    said = error.get("message") if isinstance(error, Mapping) else error
    text = f"the server's answer holds error {code} in place of a choice: {said}"
    if isinstance(code, int) and code in _NOT_WORTH_ANOTHER_ATTEMPT:
        return Reply(key, outcome=Outcome.FAILED, error=text)
    raise NoCompletionError(text)


def _finish_reason(value: object) -> str:
    """The reason as the API spells it; empty where the server gives none."""
    reason = "" if value is None else str(value)
    return _SPELLINGS.get(reason.lower(), reason)


def _joined(content: object) -> str | None:
    """A message's text, which some servers send in parts; None where there is none."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        return "".join(texts) if texts else None
    return content if isinstance(content, str) else None


def _count(value: object) -> int:
    # JSON's true is an int in Python.
    return value if type(value) is int and value > 0 else 0
