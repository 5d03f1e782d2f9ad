"""A model behind an OpenAI-compatible server: a provider's, or a `vllm serve`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import (
    Conversation,
    Decoding,
    Model,
    ModelSetupError,
    Reply,
    Structured,
)
from spy_plugin.models.concurrency import FailureBudget, run_concurrently
from spy_plugin.models.openai_client import ChatClient
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.pictures import data_url, load_ahead
from spy_plugin.models.servers import Server

if TYPE_CHECKING:
    import openai

_NAMES_OF = {"max_tokens": {"max_completion_tokens"}}
"""Field of `Decoding` -> its other names in a request."""


class OpenAIModel(Model):
    """Ask a chat model, several requests at a time.

    Args:
        model: Its name at the server.
        server: Address and key.
        options: Its fields of each request, concurrency, retries and timeout apply. Among the
            fields, ``extra_headers``, ``extra_query`` and ``extra_body`` mean what they mean to the
            openai package.
        reasoning: The model takes no temperature, and limits all tokens, its thoughts included,
            by another field.
    """

    backend = "openai"

    def __init__(
        self,
        model: str,
        decoding: Decoding,
        server: Server,
        options: ModelOptions | None = None,
        *,
        reasoning: bool = False,
    ) -> None:
        self.model, self.decoding = model, decoding
        chosen = options or ModelOptions()
        request = dict(chosen.request_args)
        self.settings = {"request": chosen.request_args} if request else {}
        # In the openai package, these names are not fields of the request.
        headers, query = (request.pop(name, None) for name in ("extra_headers", "extra_query"))
        self.chat = ChatClient(model, server, chosen, headers=headers, query=query)
        self._server, self._concurrency = server, chosen.concurrency
        self._fields = _sampling(decoding, reasoning) | request.pop("extra_body", {}) | request

    @property
    def decoded_with(self) -> Mapping[str, Any]:
        """See `Model`: without what the server does not take."""
        left_out = {name for name, other in self.chat.adapted.items() if not other}
        return {
            name: None if name in left_out or _NAMES_OF.get(name, set()) & left_out else value
            for name, value in asdict(self.decoding).items()
        }

    def request(self, conversation: Conversation, picture_url: str | None = None) -> dict[str, Any]:
        """The body of the request for one conversation, without the model."""
        picture = {"type": "image_url", "image_url": {"url": picture_url}} if picture_url else None
        return {"messages": conversation.messages(picture), **self._fields}

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield the replies as the server gives them.

        Raises:
            ModelSetupError: the first request was refused for its key or model, or the first 20,
                or later 100 in a row, failed.
        """
        budget = FailureBudget(self.name, self._server.check, ModelSetupError)

        def count(reply: Reply) -> None:
            budget.count(reply.error if reply.outcome is Outcome.FAILED else None)

        with closing(load_ahead(conversations, data_url)) as loaded:
            yield from run_concurrently(
                loaded,
                self.chat.connect,
                self._ask_one,
                concurrency=self._concurrency,
                check=count,
            )

    async def _ask_one(
        self, client: openai.AsyncOpenAI, loaded: tuple[Conversation, Future[str] | None]
    ) -> Reply:
        """Ask for one reply; every way to fail ends in one."""
        conversation, picture = loaded
        try:
            url: str | None = None
            if picture is not None:
                url = await asyncio.wrap_future(picture)
        except OSError as error:
            text = f"the picture cannot be read ({type(error).__name__}: {error})"
            return Reply(conversation.key, outcome=Outcome.FAILED, error=self.chat.redact(text))
        return await self.chat.complete(
            client,
            conversation.key,
            self.request(conversation, url),
            text_required=conversation.text_required,
        )


def _sampling(decoding: Decoding, reasoning: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {} if reasoning else {"temperature": decoding.temperature}
    if decoding.max_tokens is not None:
        fields["max_completion_tokens" if reasoning else "max_tokens"] = decoding.max_tokens
    if decoding.seed is not None:
        fields["seed"] = decoding.seed
    if decoding.structured is not None:
        fields |= _structured_fields(decoding.structured)
    return fields


def _structured_fields(structured: Structured) -> dict[str, Any]:
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
