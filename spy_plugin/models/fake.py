"""A model that needs neither weights nor a server, for tests of the code that asks models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from spy_plugin.models.base import Conversation, Decoding, Model, Reply


class FakeModel(Model):
    """Replies by a function, and remembers what it was asked.

    Args:
        reply: Makes the reply to a conversation; by default it counts the turns.
        backend, model, decoding, settings: What the model passes for.

    Attributes:
        asked: Every conversation, in the order of asking.
        closed: Whether `close` was called.
    """

    def __init__(
        self,
        reply: Callable[[Conversation], Reply] | None = None,
        *,
        backend: str = "fake",
        model: str = "fake",
        decoding: Decoding | None = None,
        **settings: Any,
    ) -> None:
        self.backend, self.model, self.settings = backend, model, settings
        self.decoding = decoding or Decoding()
        self.reply = reply or (lambda talk: Reply(talk.key, f"turn {len(talk.turns)}"))
        self.asked: list[Conversation] = []
        self.closed = False

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        for conversation in conversations:
            self.asked.append(conversation)
            yield self.reply(conversation)

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    @property
    def asked_keys(self) -> list[str]:
        """The keys of what it was asked."""
        return [conversation.key for conversation in self.asked]
