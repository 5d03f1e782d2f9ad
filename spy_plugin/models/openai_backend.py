"""A model behind an OpenAI-compatible server: a provider's, or a `vllm serve`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import (
    Backend,
    Conversation,
    Decoding,
    ModelSetupError,
    Reply,
)
from spy_plugin.models.concurrency import run_async
from spy_plugin.models.openai_client import (
    ChatClient,
    Completion,
    FailureBudget,
    NoCompletionError,
    RequestFailedError,
    RequestFilteredError,
    parse_completion,
)
from spy_plugin.models.pictures import data_url, load_ahead

if TYPE_CHECKING:
    import openai


class OpenAIBackend(Backend):
    """Ask a chat model about pictures, several requests at a time.

    Args:
        model: Name at the server.
        api_key: Never written anywhere; error texts are searched for it.
        base_url: The server's ``/v1``; None for OpenAI's own.
        reasoning: The model takes no temperature, and limits all tokens, its thoughts included,
            by another field.
        concurrency, retries, timeout: Requests in flight; attempts after the first; seconds an
            attempt.
        request: Further fields of each request.
    """

    name = "openai"

    def __init__(
        self,
        model: str,
        decoding: Decoding,
        *,
        api_key: str,
        base_url: str | None = None,
        reasoning: bool = False,
        concurrency: int = 16,
        retries: int = 5,
        timeout: float = 600.0,
        request: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.settings = {"request": dict(request)} if request else {}
        self._concurrency = concurrency
        self._fields = _sampling(decoding, reasoning) | dict(request or {})
        self._chat = ChatClient(
            model, api_key=api_key, base_url=base_url, retries=retries, timeout=timeout
        )

    def answer(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield the replies as the server gives them.

        Raises:
            ModelSetupError: the first request was refused for its key or model, or the first 20,
                or later 100 in a row, failed. What was yielded before stands.
        """
        check = "the key (OPENAI_API_KEY), --base-url and the model's name"
        budget = FailureBudget(self.model, check, ModelSetupError)

        def count(reply: Reply) -> None:
            budget.count(reply.error if reply.outcome is Outcome.FAILED else None)

        with closing(load_ahead(conversations, data_url)) as loaded:
            yield from run_async(
                loaded, self._chat.connect, self._ask, concurrency=self._concurrency, check=count
            )

    async def _ask(
        self, client: openai.AsyncOpenAI, loaded: tuple[Conversation, Future[str]]
    ) -> Reply:
        """Ask for one reply; every way to fail ends in one."""
        conversation, picture = loaded
        sample_id = conversation.sample_id
        try:
            url = await asyncio.wrap_future(picture)
        except OSError as error:
            text = f"the picture cannot be read ({type(error).__name__}: {error})"
            return Reply(sample_id, outcome=Outcome.FAILED, error=self._chat.redact(text))
        body = {"messages": messages(conversation, url)} | self._fields
        try:
            said = await self._chat.complete(client, body, _read)
        except RequestFilteredError as error:
            return Reply(sample_id, outcome=Outcome.FILTERED, error=str(error))
        except RequestFailedError as error:
            return Reply(sample_id, outcome=Outcome.FAILED, error=str(error))
        return _reply(sample_id, said)


def messages(conversation: Conversation, url: str) -> list[dict[str, Any]]:
    """The conversation in the API's form."""
    return conversation.messages({"type": "image_url", "image_url": {"url": url}})


def _sampling(decoding: Decoding, reasoning: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {} if reasoning else {"temperature": decoding.temperature}
    if decoding.max_tokens is not None:
        fields["max_completion_tokens" if reasoning else "max_tokens"] = decoding.max_tokens
    if decoding.seed is not None:
        fields["seed"] = decoding.seed
    return fields


def _read(body: object) -> Completion:
    completion = parse_completion(body)
    silent = not (completion.text or completion.refusal or completion.filtered)
    if silent and completion.finish_reason not in ("stop", "length"):
        raise NoCompletionError(f"the answer is empty (finish_reason {completion.finish_reason})")
    return completion


def _reply(sample_id: str, said: Completion) -> Reply:
    """A reply from a completion; where the model declined in the API's own way, that is its answer.

    A model that was cut off before its first word has failed; one that ended without a word has
    answered nothing.
    """
    outcome, error = None, ""
    if said.filtered:
        outcome, error = Outcome.FILTERED, "the provider filtered the answer"
    elif not said.text and not said.refusal and said.finish_reason == "length":
        outcome, error = Outcome.FAILED, "the limit of new tokens was reached before any answer"
    return Reply(
        sample_id,
        text="" if outcome else said.text or said.refusal,
        outcome=outcome,
        error=error,
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
    )
