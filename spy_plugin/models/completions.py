"""Read what a server sends, a chat completion or a stream of its parts, into a reply.

Nothing that a server sends is trusted: any field may be missing, null or of another type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import LENGTH, REFUSAL, Fault, Reply
from spy_plugin.models.refusals import error_object, filtered_reply, filtered_request
from spy_plugin.models.reply_body import NoCompletionError, read_content, shown

_STOP = "stop"
_FINISHED = (_STOP, LENGTH, "")
_SPELLINGS = {
    **dict.fromkeys(
        ("stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete", "completed"), _STOP
    ),
    **dict.fromkeys(
        (
            "length",
            "max_tokens",
            "max_output_tokens",
            "model_length",
            "model_context_window_exceeded",
        ),
        LENGTH,
    ),
}
"""Finish reasons of servers -> the API's."""

SETUP_STATUS = (401, 402, 403, 404)
"""What every request would be refused with."""

_NOT_WORTH_ANOTHER_ATTEMPT = (400, *SETUP_STATUS, 413, 422)
FILTERED_QUESTION = "the provider filtered the question"
_LONGEST_NAME = 200


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
    body = error_object(body)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        return _without_choice(key, body)
    reason = _finish_reason(choice.get("finish_reason"))
    message, usage = (
        found if isinstance(found, Mapping) else {}
        for found in (choice.get("message"), body.get("usage"))
    )
    content = read_content(message.get("content"))
    text, refusal = content.text, message.get("refusal") or content.refusal
    error = choice.get("error") or body.get("error")
    if error and not (reason and reason in _FINISHED and text):  # it broke off
        return _without_choice(key, {"error": error})
    thoughts = message.get("reasoning_content") or message.get("reasoning") or content.thoughts
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
        why = f"the provider filtered the answer ({reason})"
        return replace(reply, text="", outcome=Outcome.FILTERED, error=why)
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
        whole = f": {shown(json.dumps(body))}" if body else ""
        raise NoCompletionError(f"the server's answer holds no choice{whole}")
    code = error.get("code") if isinstance(error, Mapping) else None
    said = error.get("message") if isinstance(error, Mapping) else error
    text = f"the server's answer holds error {code} in place of a choice: {said}"
    status = int(str(code)) if re.fullmatch("[0-9]{3}", str(code)) else 0
    if status in _NOT_WORTH_ANOTHER_ATTEMPT:
        fault = Fault.SETUP if status in SETUP_STATUS else Fault.REQUEST
        return Reply(key, outcome=Outcome.FAILED, error=text, fault=fault)
    raise NoCompletionError(text)


def _finish_reason(value: object) -> str:
    """The reason as the API spells it; empty where the server gives none."""
    reason = "" if value is None else str(value)
    return _SPELLINGS.get(reason.lower(), reason)


def _count(value: object) -> int:
    # JSON's true is an int in Python.
    return value if type(value) is int and value > 0 else 0
