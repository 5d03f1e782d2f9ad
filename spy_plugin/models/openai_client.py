"""Chat completions from an OpenAI-compatible server: OpenAI's own, another's, a `vllm serve`.

Waiting, `Retry-After` and retries are the client library's; replies that are not a completion at
all (torn JSON, no choices) are asked for again here. Nothing that a server sends is trusted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import LENGTH, REFUSAL, Reply
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.redact import redact
from spy_plugin.models.refusals import filtered_reply, filtered_request
from spy_plugin.models.servers import Server

if TYPE_CHECKING:
    import openai

logger = logging.getLogger(__name__)

_REASONING = ("o1", "o3", "o4", "gpt-5")
_ADAPTABLE = ("temperature", "max_tokens", "max_completion_tokens", "seed")
"""Fields of ours that a server may not take."""

_NEWER_NAMES = {"max_tokens": "max_completion_tokens"}
_UNSUPPORTED = re.compile(
    r"(?i)unsupported|not support|unrecognized|unknown (?:parameter|field|argument|name)"
    r"|not permitted|not allowed"
)
_TOO_LONG = re.compile(r"(?i)context (?:length|window)|too (?:large|long)|exceed")
_FIRST_DELAY = 0.25

_STOP = "stop"
_FINISHED = (_STOP, LENGTH, "")
_SPELLINGS = {
    **dict.fromkeys(("stop", "eos_token", "stop_sequence", "end_turn"), _STOP),
    **dict.fromkeys(("length", "max_tokens"), LENGTH),
}
"""Finish reasons of servers -> the API's."""

_NOT_WORTH_ANOTHER_ATTEMPT = (400, 401, 402, 403, 404, 413, 422)
_FILTERED_QUESTION = "the provider filtered the question"
_LONGEST_NAME = 200


class NoCompletionError(Exception):
    """The server reported success without text: worth another attempt."""


def quiet_logs() -> None:
    """Keep the client library's retries out of the log, where they would break the progress bar."""
    for name in ("openai", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def is_reasoning(model: str) -> bool:
    """Whether a model, by its name, takes neither a temperature nor `max_tokens`."""
    return model.rpartition("/")[2].startswith(_REASONING)


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
    if text is None or (text_required and not reply.text.strip()):
        raise NoCompletionError(f"the answer is empty (finish_reason {reason or 'missing'})")
    if not text and reason != _STOP:
        raise NoCompletionError(f"the answer is empty (finish_reason {reason or 'missing'})")
    return reply


def _without_choice(key: str, body: Mapping[str, Any]) -> Reply:
    """What became of a request whose reply holds an error in place of choices.

    Raises:
        NoCompletionError: another attempt may end better.
    """
    if filtered_request(body):
        return Reply(key, outcome=Outcome.FILTERED, error=_FILTERED_QUESTION)
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


def _plain(sent: Any) -> dict[str, Any] | None:
    """What the library returned as plain JSON; None for text, where the server sent no JSON."""
    body: dict[str, Any] | None = sent.to_dict() if hasattr(sent, "to_dict") else None
    return body


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


def _limit(fields: Mapping[str, Any]) -> int | None:
    limit = fields.get("max_completion_tokens", fields.get("max_tokens"))
    return limit if isinstance(limit, int) else None


def _count(value: object) -> int:
    # JSON's true is an int in Python.
    return value if type(value) is int and value > 0 else 0


class ChatClient:
    """Asks one model, and learns from refusals which sampling fields it does not take.

    Args:
        model: Its name at the server.
        server: Address and key; error texts are searched for the key.
        options: Its number of retries and its time for an attempt apply.
        headers, query: Sent along with each request.

    Attributes:
        adapted: Field that the server does not take -> what it is sent as; empty for left out.
    """

    def __init__(
        self,
        model: str,
        server: Server,
        options: ModelOptions,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> None:
        self.model, self.retries = model, options.retries
        self._key = server.key
        self._options: dict[str, Any] = {
            "api_key": server.key,
            "base_url": server.url,
            "max_retries": options.retries,
            "timeout": options.timeout,
            "default_headers": headers,
            "default_query": query,
        }
        self.adapted: dict[str, str] = {}
        self._said: set[str] = set()

    def connect(self) -> openai.AsyncOpenAI:
        """A client of the library, to be used in one event loop."""
        import openai

        return openai.AsyncOpenAI(**self._options)

    def connect_sync(self) -> openai.OpenAI:
        """A client for requests other than completions, such as batches."""
        import openai

        return openai.OpenAI(**self._options)

    def redact(self, text: str) -> str:
        """The text without the key."""
        return redact(text, [self._key])

    def refused(self, key: str, problem: object, message: str) -> Reply:
        """The reply to a request that the server refused, alone or in a batch.

        Args:
            problem: The server's error as plain JSON.
            message: What to record, unless the provider filtered the request.
        """
        if filtered_request(problem):
            return Reply(key, outcome=Outcome.FILTERED, error=_FILTERED_QUESTION)
        return Reply(key, outcome=Outcome.FAILED, error=self.redact(message))

    async def complete(
        self,
        client: openai.AsyncOpenAI,
        key: str,
        body: Mapping[str, Any],
        *,
        text_required: bool = False,
    ) -> Reply:
        """Send one request; every way to fail ends in a reply.

        Args:
            key: The conversation's.
            body: The request, without the model.
        """
        import openai

        error, attempt = "", 0
        while attempt <= self.retries:
            fields = self._adapted(body)
            try:
                # Fields that the library does not know go into the body as well.
                sent = await client.chat.completions.create(
                    model=self.model, messages=[], extra_body=fields
                )
                reply = read_completion(
                    key, _plain(sent), limit=_limit(fields), text_required=text_required
                )
            except openai.APIStatusError as refusal:
                if isinstance(refusal, openai.BadRequestError):
                    self._adapt(refusal, fields)
                    if self._adapted(body) != fields:
                        continue
                return self.refused(key, refusal.body, self._message(refusal))
            except (
                openai.APIResponseValidationError,
                NoCompletionError,
                RecursionError,
                ValueError,
            ) as broken:
                error = self._message(broken)
                if attempt < self.retries:
                    await anyio.sleep(min(_FIRST_DELAY * 2**attempt, 8))
            except openai.OpenAIError as failure:
                return Reply(key, outcome=Outcome.FAILED, error=self._message(failure))
            else:
                self._check_model(reply)
                return replace(reply, error=self.redact(reply.error))
            attempt += 1
        return Reply(key, outcome=Outcome.FAILED, error=error)

    def _check_model(self, reply: Reply) -> None:
        served = reply.answered_by
        if served and self.model.rpartition("/")[2] not in served:
            self._warn(f"asked {self.model}, but the server says that {served} answered")

    def _adapt(self, refusal: openai.BadRequestError, fields: Mapping[str, Any]) -> None:
        """Learn from a refusal which field to leave out, or to send by another name."""
        name = unsupported_field(refusal.param, refusal.message, fields)
        if name is None:
            return
        other = _NEWER_NAMES.get(name, "")
        if other not in refusal.message:
            other = ""
        if name not in self.adapted:
            self.adapted[name] = other
            sent = f"sent as {other}" if other else "asked without it"
            self._warn(f"{self.model} does not take {name}; {sent}")

    def _adapted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request with the fields that the server takes."""
        named = {self.adapted.get(name, name): value for name, value in body.items()}
        named.pop("", None)
        return named

    def _warn(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", self.redact(text))

    def _message(self, error: Exception) -> str:
        # The library says "Connection error."; what it caught says more.
        cause = error.__cause__
        more = f" ({type(cause).__name__}: {cause})" if cause else ""
        return self.redact(f"{type(error).__name__}: {error}{more}")
