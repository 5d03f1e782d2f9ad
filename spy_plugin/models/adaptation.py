"""The sampling fields of a request, and what a server says that it does not take of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from spy_plugin.models.base import Decoding, Structured

_ADAPTABLE = ("temperature", "max_tokens", "max_completion_tokens", "seed")
"""Fields of ours that a server may not take."""

_NEWER_NAMES = {"max_tokens": "max_completion_tokens"}
_UNSUPPORTED = re.compile(
    r"(?i)unsupported|not support|unrecognized|unknown (?:parameter|field|argument|name)"
    r"|not permitted|not allowed|extra_forbidden"
)
_TOO_LONG = re.compile(r"(?i)context (?:length|window)|too (?:large|long)|exceed")


def sampling_fields(decoding: Decoding, reasoning: bool) -> dict[str, Any]:
    """Return the fields that ask for a decoding.

    Args:
        reasoning: The model thinks first; the limit is on all its tokens, thoughts included, which
            has a field of its own.
    """
    fields: dict[str, Any] = {"temperature": decoding.temperature}
    if decoding.max_tokens is not None:
        fields["max_completion_tokens" if reasoning else "max_tokens"] = decoding.max_tokens
    if decoding.seed is not None:
        fields["seed"] = decoding.seed
    if decoding.structured is not None:
        fields |= structured_fields(decoding.structured)
    return fields


def token_limit(fields: Mapping[str, Any]) -> int | None:
    """Return the limit of new tokens in a request."""
    limit = fields.get("max_completion_tokens", fields.get("max_tokens"))
    return limit if isinstance(limit, int) else None


def unsupported_field(param: str | None, message: str, fields: Mapping[str, Any]) -> str | None:
    """The sampling field that a refusal says is unsupported; None if it says something else.

    Args:
        param: The field that the server names, if it names one apart from the message.
        fields: What was sent.
    """
    if not _UNSUPPORTED.search(message) or _TOO_LONG.search(message):
        return None
    sent = [name for name in _ADAPTABLE if name in fields]
    if param in sent:
        return param
    return next((name for name in sent if re.search(rf"\b{name}\b", message)), None)


class Adaptation:
    """What one server does not take, learned from its refusals.

    Attributes:
        other_names: Field -> the name that it is sent by; empty for a field that is left out.
    """

    def __init__(self) -> None:
        self.other_names: dict[str, str] = {}

    def learn(self, param: str | None, message: str, fields: Mapping[str, Any]) -> str:
        """Learn from a refusal which field to leave out, or to send by another name.

        Returns:
            What is new, for a warning; empty if nothing is.
        """
        name = unsupported_field(param, message, fields)
        if name is None or name in self.other_names:
            return ""
        other = _NEWER_NAMES.get(name, "")
        self.other_names[name] = other if other in message else ""
        sent = f"sent as {other}" if self.other_names[name] else "asked without it"
        return f"does not take {name}; {sent}"

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request with the fields that the server takes.

        What it returns is left as it is by a second call, so a request is repeated only after
        something was learned.
        """
        named = {self._name(name): value for name, value in body.items()}
        named.pop("", None)
        return named

    def _name(self, name: str) -> str:
        """Return the name that a field is sent by; a new name may be refused as well."""
        while name in self.other_names:
            name = self.other_names[name]
        return name

    @property
    def left_out(self) -> set[str]:
        """Fields that are not sent by any name, by the name that `Decoding` has for them."""
        older = {newer: name for name, newer in _NEWER_NAMES.items()}
        return {older.get(name, name) for name, other in self.other_names.items() if not other}


def structured_fields(structured: Structured) -> dict[str, Any]:
    """How a server is told to allow nothing but some words: vLLM's way, and OpenAI's."""
    words = list(structured.words)
    if structured.form == "choice":
        return {"structured_outputs": {"choice": words}}
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": words}},
        "required": ["label"],
        "additionalProperties": False,
    }
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": schema},
        }
    }
