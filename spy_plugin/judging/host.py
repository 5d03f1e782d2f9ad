"""A model that a host built: anything with `generate(prompt) -> str`, as VLMEvalKit's models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol as Shape

from spy_plugin.benchmark.records import Outcome
from spy_plugin.files.threads import in_threads
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
        """Yield the replies as they come; a request of the host's cannot be stopped."""
        for _, reply in in_threads(self._ask_one, conversations, threads=self._concurrency):
            yield reply

    def _ask_one(self, conversation: Conversation) -> Reply:
        error = "the host's model returned no text"
        try:
            text = self._host.generate(conversation.turns[-1])
        except Exception as failure:  # noqa: BLE001 - the host's code may raise anything
            text, error = "", redact(f"{type(failure).__name__}: {failure}", self._secrets)
        if isinstance(text, str) and FAILURE_TEXT in text:
            text, error = "", redact(text, self._secrets)
        if not isinstance(text, str) or not text.strip():
            return Reply(conversation.key, outcome=Outcome.FAILED, error=error)
        return Reply(conversation.key, text)
