"""A model behind an OpenAI-compatible server: a provider's, or a `vllm serve`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.adaptation import sampling_fields, structured_fields
from spy_plugin.models.base import (
    Conversation,
    Decoding,
    Fault,
    Model,
    ModelSetupError,
    Reply,
)
from spy_plugin.models.concurrency import FailureBudget, run_concurrently
from spy_plugin.models.openai_client import ChatClient
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.pictures import data_url, load_ahead
from spy_plugin.models.redact import hide_secrets
from spy_plugin.models.servers import Server

if TYPE_CHECKING:
    import openai

REQUEST_PARTS = ("extra_headers", "extra_query")
_OURS = ("messages", "model", "n")
"""Fields of a request that say what is asked and of whom, or how many answers are paid for."""


class OpenAIModel(Model):
    """Ask a chat model, several requests at a time.

    Args:
        model: Its name at the server.
        server: Address and key.
        options: Its fields of each request, concurrency, retries and timeout apply. Among the
            fields, ``extra_headers``, ``extra_query`` and ``extra_body`` mean what they mean to the
            openai package.
        reasoning: The model thinks first: the limit is on all its tokens, thoughts included.

    Attributes:
        check: What to check if the server refuses, for messages.

    Raises:
        ModelSetupError: a header or parameter among the fields cannot be sent, or a field would
            change what is asked.
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
        shown, secrets = hide_secrets(request)
        self.server, self.settings = server.address, {"request": shown} if shown else {}
        # In the openai package, these names are not fields of the request.
        headers, query = (_texts(request.pop(name, {}), name) for name in REQUEST_PARTS)
        self.chat = ChatClient(model, server, chosen, headers=headers, query=query, secrets=secrets)
        self.check, self._concurrency = server.check, chosen.concurrency
        self._given = request.pop("extra_body", {}) | request
        for name in _OURS:
            if name in self._given:
                raise ModelSetupError(
                    f"{name} in --request-args would take the place of what this command asks. "
                    "Leave it out."
                )
        self._fields = sampling_fields(decoding, reasoning) | self._given

    @property
    def decoded_with(self) -> Mapping[str, Any]:
        """See `Model`: without what the server does not take."""
        left_out = self.chat.adaptation.left_out
        return {
            name: None if name in left_out else value
            for name, value in asdict(self.decoding).items()
        }

    def learn(self, refusals: Iterable[str]) -> None:
        """Leave out of later requests what the server refused to take in an earlier sitting."""
        for refusal in refusals:
            self.chat.adaptation.learn(None, refusal, self._fields)

    def request(self, conversation: Conversation, picture_url: str | None = None) -> dict[str, Any]:
        """The body of the request for one conversation, without the model."""
        picture = {"type": "image_url", "image_url": {"url": picture_url}} if picture_url else None
        fields, structured = self._fields, self.decoding.structured
        if conversation.words and structured is not None:
            own = replace(structured, words=conversation.words)
            fields = fields | structured_fields(own) | self._given
        return {"messages": conversation.messages(picture), **fields}

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield the replies as the server gives them.

        Raises:
            ModelSetupError: the first request was refused for its key or model, or the first 20,
                or later 100 in a row, failed.
        """
        budget = FailureBudget(
            self.name, self.check, ModelSetupError, worked_before=self.worked_before
        )

        def count(reply: Reply) -> None:
            failed = reply.outcome is Outcome.FAILED
            budget.count((reply.fault or Fault.REQUEST) if failed else None, reply.error)

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
            return Reply(
                conversation.key,
                outcome=Outcome.FAILED,
                error=self.chat.redact(text),
                fault=Fault.REQUEST,
            )
        return await self.chat.complete(
            client,
            conversation.key,
            self.request(conversation, url),
            text_required=conversation.text_required,
        )


def _texts(given: object, name: str) -> dict[str, str]:
    """Headers or parameters as they can be sent.

    Raises:
        ModelSetupError: they are not texts by name. The message shows no value: it may be a key.
    """
    if not isinstance(given, Mapping):
        raise ModelSetupError(f"{name} in --request-args must be an object of texts by name.")
    texts = {key: str(value) for key, value in given.items()}
    for key, value in texts.items():
        if not (key + value).isascii() or not (key + value).isprintable():
            raise ModelSetupError(
                f"{name} in --request-args: {key!r} holds a character that cannot be sent. Fix it."
            )
    return texts
