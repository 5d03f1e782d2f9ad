"""A model that a host built: anything with `generate(prompt) -> str`, as VLMEvalKit's models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol as Shape

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import Conversation, Decoding, Model, Reply
from spy_plugin.models.redact import redact

FAILURE_TEXT = "Failed to obtain answer"
"""How VLMEvalKit's models begin the text that they return in place of an answer."""


class Generates(Shape):
    """The part of a host's object that is used."""

    def generate(self, message: str) -> str:
        """Answer one prompt."""


class HostModel(Model):
    """Ask a host's own model, from several threads, for conversations of one turn.

    Args:
        host: The host's object; its own retries and decoding apply.
        name: Shown in results; by default the object's `model` attribute or its class.
        concurrency: Number of threads.
        secrets: Texts that must not get into files, such as the host's key.
    """

    backend = "host"

    def __init__(
        self,
        host: Generates,
        *,
        name: str | None = None,
        concurrency: int = 4,
        secrets: Sequence[str] = (),
    ) -> None:
        self._host, self._concurrency = host, concurrency
        own = getattr(host, "key", None)
        self._secrets = [*secrets, own] if isinstance(own, str) else list(secrets)
        self.model = str(name or getattr(host, "model", None) or type(host).__name__)
        self.decoding, self.settings = Decoding(), {}

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield the replies as they come. Whoever stops waits for no request in flight.

        A request of the host's cannot be stopped, and Python waits at its end for the threads of an
        executor; so the threads are daemons.
        """
        todo: SimpleQueue[Conversation | None] = SimpleQueue()
        replies: SimpleQueue[Reply] = SimpleQueue()

        def work() -> None:
            while (conversation := todo.get()) is not None:
                replies.put(self._ask_one(conversation))

        count = 0
        for conversation in conversations:
            todo.put(conversation)
            count += 1
        for number in range(self._concurrency):
            todo.put(None)
            Thread(target=work, name=f"host-{number}", daemon=True).start()
        try:
            for _ in range(count):
                yield replies.get()
        finally:
            with suppress(Empty):
                while True:
                    todo.get_nowait()
            for _ in range(self._concurrency):
                todo.put(None)

    def _ask_one(self, conversation: Conversation) -> Reply:
        error = "the host's model returned no text"
        try:
            text = self._host.generate(conversation.turns[-1])
        except (Exception, SystemExit) as failure:  # noqa: BLE001 - the host may raise anything
            text, error = "", redact(f"{type(failure).__name__}: {failure}", self._secrets)
        if isinstance(text, str) and FAILURE_TEXT in text:
            text, error = "", redact(text, self._secrets)
        if not isinstance(text, str) or not text.strip():
            return Reply(conversation.key, outcome=Outcome.FAILED, error=error)
        return Reply(conversation.key, text)
