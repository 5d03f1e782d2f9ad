"""Chat completions from an OpenAI-compatible server: OpenAI's own, another's, a `vllm serve`.

Waiting, `Retry-After` and retries are the client library's; answers that are no completion at all
(torn JSON, no choices) are asked for again here. Nothing that a server sends is trusted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from spy_plugin.errors import SpyBenchError
from spy_plugin.models.redact import redact

if TYPE_CHECKING:
    import openai

T = TypeVar("T")

logger = logging.getLogger(__name__)

_REASONING = ("o1", "o3", "o4", "gpt-5")
_DROPPABLE = ("temperature", "max_tokens", "seed")
_FIRST_DELAY = 0.25
_HOPELESS = ("AuthenticationError", "PermissionDeniedError", "NotFoundError", "(ConnectError")
"""Failures that, if the first request ends so, all will: key, access, model, no such server."""

_TOO_MANY_AT_FIRST, _TOO_MANY_IN_A_ROW = 20, 100


class NoCompletionError(Exception):
    """A success that holds no text: worth another attempt."""


class RequestFailedError(Exception):
    """There is no completion, whatever was tried; the text says why, without secrets."""


class RequestFilteredError(Exception):
    """The provider refused to serve the request."""


def quiet_logs() -> None:
    """Each retry of the client library would be a line in the middle of a progress bar."""
    for name in ("openai", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def is_reasoning(model: str) -> bool:
    """Whether a model, by its name, takes neither a temperature nor `max_tokens`."""
    return model.rpartition("/")[2].startswith(_REASONING)


@dataclass(frozen=True)
class Completion:
    """What a chat completion says.

    Attributes:
        text: May be empty.
        refusal: The model's words where it declined and the server keeps that apart.
        filtered: The provider cut the answer out.
        finish_reason: As the server has it.
    """

    text: str = ""
    refusal: str = ""
    filtered: bool = False
    finish_reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


def parse_completion(body: object) -> Completion:
    """Read a chat completion, as a server or a batch's result file gives it.

    Args:
        body: The completion as plain JSON.

    Raises:
        NoCompletionError: there is no choice in it, or no text in the choice.
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
    filtered = reason == "content_filter"
    if not filtered and not refusal and not isinstance(text, str):
        raise NoCompletionError(f"the answer is empty (finish_reason {reason})")
    return Completion(
        text=text if isinstance(text, str) else "",
        refusal=str(refusal or ""),
        filtered=filtered,
        finish_reason=reason,
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


class ChatClient:
    """Asks one model, and learns from refusals which sampling fields it does not take.

    Args:
        model: Name at the server.
        api_key: Never written anywhere; error texts are searched for it.
        base_url: The server's ``/v1``; None for OpenAI's own.
        retries: Further attempts after a first that failed.
        timeout: Seconds an attempt may take.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str,
        base_url: str | None = None,
        retries: int = 5,
        timeout: float = 60.0,
    ) -> None:
        self.model, self.retries = model, retries
        self._api_key = api_key
        self._options: dict[str, Any] = {
            "api_key": api_key,
            "base_url": base_url,
            "max_retries": retries,
            "timeout": timeout,
        }
        self._dropped: set[str] = set()
        self._said: set[str] = set()

    def connect(self) -> openai.AsyncOpenAI:
        """A client of the library, to be used in one event loop."""
        import openai

        return openai.AsyncOpenAI(**self._options)

    def connect_sync(self) -> openai.OpenAI:
        """A client for what is no completion, such as batches."""
        import openai

        return openai.OpenAI(**self._options)

    def redact(self, text: str) -> str:
        """The text without the key."""
        return redact(text, [self._api_key])

    async def complete(
        self, client: openai.AsyncOpenAI, body: Mapping[str, Any], read: Callable[[object], T]
    ) -> T:
        """Send one request.

        Args:
            body: The request, without the model.
            read: Reads the completion, plain JSON; where it raises `NoCompletionError`, the
                request is sent again.

        Raises:
            RequestFailedError, RequestFilteredError: there is nothing to read.
        """
        import openai

        error, attempt = "", 0
        while attempt <= self.retries:
            fields = {name: body[name] for name in body if name not in self._dropped}
            try:
                reply = await client.chat.completions.create(**{"model": self.model} | fields)
                return read(self._plain(reply))
            except openai.BadRequestError as refusal:
                if self._drop_unsupported(refusal, fields):
                    continue
                if "content_filter" in f"{refusal.code} {refusal.body}":
                    raise RequestFilteredError("the provider filtered the question") from None
                raise RequestFailedError(self._message(refusal)) from None
            except (openai.APIResponseValidationError, NoCompletionError, ValueError) as broken:
                error = self._message(broken)
                if attempt < self.retries:
                    await asyncio.sleep(min(_FIRST_DELAY * 2**attempt, 8))
            except openai.OpenAIError as failure:
                raise RequestFailedError(self._message(failure)) from None
            attempt += 1
        raise RequestFailedError(error)

    def _plain(self, reply: Any) -> dict[str, Any] | None:
        """What the library returned as plain JSON; None for text, where the server sent no JSON."""
        body: dict[str, Any] | None = reply.to_dict() if hasattr(reply, "to_dict") else None
        served = (body or {}).get("model")
        if isinstance(served, str) and served and self.model.rpartition("/")[2] not in served:
            self._warn(f"asked {self.model}, but the server says that {served} answered")
        return body

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


class FailureBudget:
    """Ends a run that goes on in vain.

    Args:
        name: Who is asked, for the message.
        check: What to look at if the first request was refused.
        error: What is raised.
    """

    def __init__(self, name: str, check: str, error: type[SpyBenchError]) -> None:
        self.name, self.check, self.error = name, check, error
        self.failed_in_a_row, self.any_success = 0, False

    def count(self, failure: str | None) -> None:
        """Count one result; `failure` is None for a success.

        Raises:
            SpyBenchError: nothing worked yet and the failure is a hopeless one, the first 20
                requests failed, or later 100 in a row.
        """
        if failure is None:
            self.failed_in_a_row, self.any_success = 0, True
            return
        self.failed_in_a_row += 1
        if not self.any_success and any(name in failure for name in _HOPELESS):
            raise self.error(f"{self.name} cannot be asked: {failure}. Check {self.check}.")
        limit = _TOO_MANY_IN_A_ROW if self.any_success else _TOO_MANY_AT_FIRST
        if self.failed_in_a_row >= limit:
            raise self.error(
                f"{self.failed_in_a_row} requests to {self.name} failed in a row, the last with "
                f"{failure}. What was done so far is kept; run again when the server is well."
            )
