"""Chat completions from an OpenAI-compatible server: OpenAI's own, another's, a `vllm serve`.

Waiting, `Retry-After` and retries are the client library's; replies that are not a completion at
all (torn JSON, no choices) are asked for again here. Nothing that a server sends is trusted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import REFUSAL, Reply
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.redact import redact
from spy_plugin.models.servers import Server

if TYPE_CHECKING:
    import openai

logger = logging.getLogger(__name__)

_REASONING = ("o1", "o3", "o4", "gpt-5")
_DROPPABLE = ("temperature", "max_tokens", "seed")
_FIRST_DELAY = 0.25

_FILTER = "content_filter"


class NoCompletionError(Exception):
    """The server reported success without text: worth another attempt."""


def quiet_logs() -> None:
    """Keep the client library's retries out of the log, where they would break the progress bar."""
    for name in ("openai", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def is_reasoning(model: str) -> bool:
    """Whether a model, by its name, takes neither a temperature nor `max_tokens`."""
    return model.rpartition("/")[2].startswith(_REASONING)


def read_completion(key: str, body: object, *, text_required: bool = False) -> Reply:
    """The reply in a chat completion, as a server or a batch's result file gives it.

    A model that declined in the API's own way has answered with its words of refusal; one that was
    cut off before its first word has failed; one that ended without a word has answered nothing.

    Args:
        key: The conversation's.
        body: The completion as plain JSON.
        text_required: See `Conversation`.

    Raises:
        NoCompletionError: it holds no choice, or the choice holds no text.
    """
    body = body if isinstance(body, Mapping) else {}
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        raise NoCompletionError("the server's answer holds no choice")
    reason = str(choice.get("finish_reason"))
    message, usage = (
        found if isinstance(found, Mapping) else {}
        for found in (choice.get("message"), body.get("usage"))
    )
    text, refusal = message.get("content"), message.get("refusal")
    outcome, error = None, ""
    if reason == _FILTER:
        text, outcome, error = "", Outcome.FILTERED, "the provider filtered the answer"
    elif refusal:
        text, reason = text if isinstance(text, str) and text else str(refusal), REFUSAL
    elif not isinstance(text, str):
        raise NoCompletionError(f"the answer is empty (finish_reason {reason})")
    elif not text and reason == "length":
        outcome, error = Outcome.FAILED, "the limit of new tokens was reached before any answer"
    elif (text_required and not text.strip()) or (not text and reason != "stop"):
        raise NoCompletionError(f"the answer is empty (finish_reason {reason})")
    return Reply(
        key,
        text=text,
        outcome=outcome,
        error=error,
        finish_reason=reason,
        answered_by=str(body.get("model") or ""),
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _plain(sent: Any) -> dict[str, Any] | None:
    """What the library returned as plain JSON; None for text, where the server sent no JSON."""
    body: dict[str, Any] | None = sent.to_dict() if hasattr(sent, "to_dict") else None
    return body


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


class ChatClient:
    """Asks one model, and learns from refusals which sampling fields it does not take.

    Args:
        model: Its name at the server.
        server: Address and key; error texts are searched for the key.
        options: Its number of retries and its time for an attempt apply.
        headers, query: Sent along with each request.
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
        self._dropped: set[str] = set()
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

    def refused(self, key: str, problem: str, message: str) -> Reply:
        """The reply to a request that the server refused, alone or in a batch.

        Args:
            problem: The server's error.
            message: What to record, unless the provider filtered the request.
        """
        if _FILTER in problem:
            return Reply(key, outcome=Outcome.FILTERED, error="the provider filtered the question")
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
            fields = {name: body[name] for name in body if name not in self._dropped}
            try:
                # Fields that the library does not know go into the body as well.
                sent = await client.chat.completions.create(
                    model=self.model, messages=[], extra_body=fields
                )
                reply = read_completion(key, _plain(sent), text_required=text_required)
            except openai.BadRequestError as refusal:
                if self._drop_unsupported(refusal, fields):
                    continue
                return self.refused(key, f"{refusal.code} {refusal.body}", self._message(refusal))
            except (openai.APIResponseValidationError, NoCompletionError, ValueError) as broken:
                error = self._message(broken)
                if attempt < self.retries:
                    await anyio.sleep(min(_FIRST_DELAY * 2**attempt, 8))
            except openai.OpenAIError as failure:
                return Reply(key, outcome=Outcome.FAILED, error=self._message(failure))
            else:
                self._check_model(reply)
                return reply
            attempt += 1
        return Reply(key, outcome=Outcome.FAILED, error=error)

    def _check_model(self, reply: Reply) -> None:
        served = reply.answered_by
        if served and self.model.rpartition("/")[2] not in served:
            self._warn(f"asked {self.model}, but the server says that {served} answered")

    def _drop_unsupported(self, refusal: openai.BadRequestError, fields: Mapping[str, Any]) -> bool:
        text = f"{refusal.param} {refusal.message}"
        for name in _DROPPABLE:
            if name in fields and name in text:
                if name not in self._dropped:
                    self._dropped.add(name)
                    self._warn(f"{self.model} does not take {name}; asked without it")
                return True
        return False

    def _warn(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", self.redact(text))

    def _message(self, error: Exception) -> str:
        # The library says "Connection error."; what it caught says more.
        cause = error.__cause__
        more = f" ({type(cause).__name__}: {cause})" if cause else ""
        return self.redact(f"{type(error).__name__}: {error}{more}")
