"""Parse the body of a server's reply: one JSON object, or a stream of events put together.

Nothing that a server sends is trusted: any field may be missing, null or of another type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_LINE_END = re.compile(r"\r\n|\n|\r")
_THOUGHTS = ("thinking", "reasoning", "redacted_thinking")
"""Types of content parts that hold what the model thought, not what it said."""

_FIELDS = {"thoughts": "reasoning_content", "refusal": "refusal"}
"""Where the API keeps what a message's parts hold beside its text."""

_SHOWN = 300
"""So many characters of an unexpected body are shown."""


class NoCompletionError(Exception):
    """The server reported success without text: worth another attempt."""


class Content(NamedTuple):
    """What a message holds.

    Attributes:
        text: None where there is none, not even an empty one.
    """

    text: str | None = None
    thoughts: str = ""
    refusal: str = ""


def parse_body(content: bytes) -> object:
    """Parse the body of a successful response: one JSON object, or a stream of events.

    Returns:
        The completion as plain JSON; a stream's parts are put together.

    Raises:
        NoCompletionError: it is neither.
    """
    text = content.decode("utf-8", "replace").removeprefix("\ufeff").strip()
    if text.startswith(("data:", "event:", "id:", "retry:", "error:", ":")):
        return _assembled(text)
    if not text:
        raise NoCompletionError("the server's answer is empty")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "a web page, not JSON" if text.startswith("<") else f"not JSON ({error})"
        raise NoCompletionError(f"the server's answer is {kind}: {shown(text)}") from None


def shown(text: str) -> str:
    """Return the beginning of a body, for messages."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def read_content(content: object) -> Content:
    """Read a message's content: text, or parts of text, thoughts and words of refusal."""
    if isinstance(content, str):
        return Content(content)
    text: str | None = None
    thoughts = refusal = ""
    for part in [content] if isinstance(content, Mapping) else _list(content):
        kind = part.get("type") if isinstance(part, Mapping) else ""
        if kind in _THOUGHTS:
            thoughts += _text(part.get("text")) or _text(part.get(kind)) or ""
        elif kind == "refusal":
            refusal += _text(part.get("refusal")) or ""
        else:
            said = _text(part)
            text = text if said is None else (text or "") + said
    return Content(text, thoughts, refusal)


def _text(value: object) -> str | None:
    """The text in a part, which some servers wrap in objects or lists; None where there is none."""
    if isinstance(value, list):
        texts = [text for text in map(_text, value) if text is not None]
        return "".join(texts) if texts else None
    if isinstance(value, Mapping):
        value = value.get("text", value.get("value"))
        value = value.get("value") if isinstance(value, Mapping) else value
    return value if isinstance(value, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _assembled(stream: str) -> dict[str, Any]:
    """Put the parts of a streamed completion together, as if the server had not streamed.

    Raises:
        NoCompletionError: a part is not JSON, or the stream ends before its last part.
    """
    whole: dict[str, Any] = {}
    message: dict[str, str] = {}
    finish: object = None
    ended = False
    for kind, event in _events(stream):
        if event == "[DONE]":
            ended = True
            break
        try:
            part = json.loads(event)
        except (ValueError, RecursionError) as error:
            if kind != "error":
                raise NoCompletionError(f"a part of the stream is not JSON ({error})") from None
            part = {"message": event}
        if not isinstance(part, Mapping):
            continue
        if (kind == "error" or part.get("object") == "error") and not part.get("error"):
            part = {"error": part}
        whole |= {name: value for name, value in part.items() if value is not None}
        choice = _first_choice(part.get("choices"))
        finish = choice.get("finish_reason") or finish
        if choice.get("error"):
            whole["error"] = choice["error"]
        if isinstance(choice.get("message"), Mapping):  # the whole message, after its parts
            message = {}
            _add(message, choice["message"])
        elif isinstance(choice.get("delta"), Mapping):
            _add(message, choice["delta"])
    if whole.get("error"):
        return whole | {"choices": None}
    if not ended and finish is None:
        raise NoCompletionError("the stream ended before the answer did")
    message = {name: _joined_halves(text) for name, text in message.items()}
    return whole | {"choices": [{"message": message, "finish_reason": finish}]}


def _first_choice(choices: object) -> Mapping[str, Any]:
    """The part of the first choice; a server may send those of further ones, which nobody asked."""
    found = (one for one in _list(choices) if isinstance(one, Mapping) and not one.get("index"))
    return next(found, {})


def _add(message: dict[str, str], said: Mapping[str, Any]) -> None:
    """Append the texts of a part to those of the whole message."""
    for name, value in said.items():
        if name == "role":
            continue
        content = read_content(value)
        if content.text is not None:
            message[name] = message.get(name, "") + content.text
        for field in ("thoughts", "refusal"):
            if text := getattr(content, field):
                target = _FIELDS[field]
                message[target] = message.get(target, "") + text


def _joined_halves(text: str) -> str:
    """Join a character whose two UTF-16 halves came in two parts."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _events(stream: str) -> Iterator[tuple[str, str]]:
    """Yield the kind (empty where none is named) and the data of each server-sent event.

    A field ``error``, which llama.cpp's server sends in place of ``data``, is an ``error`` event.
    """
    kind, data = "", list[str]()
    for line in [*_LINE_END.split(stream), ""]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name in ("data", "error"):
            kind = "error" if name == "error" else kind
            data.append(value)
        elif not line:
            if data:
                yield kind, "\n".join(data)
            kind, data = "", []
