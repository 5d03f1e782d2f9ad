"""Reading a chat completion, as a server or a batch's result file gives it. Nothing is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spy_plugin.judge.base import Judgement, read_reply
from spy_plugin.records import Outcome


class NoCompletionError(Exception):
    """A success that holds no text: worth another attempt."""


def read_completion(body: object) -> Judgement:
    """The judgement in a chat completion.

    Args:
        body: The completion as plain JSON.

    Returns:
        `UNJUDGED` if the provider filtered it, or the judge declined; else what its text says.

    Raises:
        NoCompletionError: there is no choice in it, or no text.
    """
    choices = body.get("choices") if isinstance(body, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        raise NoCompletionError("the server's answer holds no choice")
    if choice.get("finish_reason") == "content_filter":
        return Judgement(Outcome.UNJUDGED, error="the provider filtered the judge's answer")
    message: Any = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    if message.get("refusal"):
        return Judgement(
            Outcome.UNJUDGED, raw=str(message["refusal"]), error="the judge declined to judge"
        )
    text = message.get("content")
    if not isinstance(text, str) or not text.strip():
        reason = choice.get("finish_reason")
        raise NoCompletionError(f"the judge's answer is empty (finish_reason {reason})")
    return read_reply(text)
