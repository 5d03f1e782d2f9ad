"""What every model takes and gives: conversations in, replies out, in the order they finish."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.data.pictures import PictureBytes
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.text import storable
from spy_plugin.files.writing import Closing
from spy_plugin.models.thoughts import split_thoughts

logger = logging.getLogger(__name__)

REFUSAL = "refusal"
"""`Reply.finish_reason` where the model declined in the API's own way; the text is its words."""

LOCAL_BACKENDS = ("vllm", "transformers")
"""Backends that load weights here, of which a revision may be pinned."""

LENGTH = "length"
"""`Reply.finish_reason` where the limit of new tokens was reached."""


class ModelSetupError(SpyBenchError):
    """The model cannot be asked with the given options and keys."""


class Fault(Enum):
    """What a failed request says about the next ones."""

    REQUEST = "this request fails each time, others may not"
    SERVER = "the server failed, and may recover"
    SETUP = "every request fails: the key, the address or the model is wrong"


@dataclass(frozen=True)
class Conversation:
    """The turns so far, perhaps about a picture; the model is asked for the next turn.

    Attributes:
        key: Identifies the conversation; its reply carries the same key.
        image: The picture's file, or its content; None for a conversation without one.
        turns: User and assistant alternating, beginning and ending with the user.
        image_first: The picture stands before the first turn's text, else after it.
        text_required: A reply without text is not an answer, and is asked for again.
        words: Where output is structured, the texts to choose from in place of the decoding's;
            empty for those.
    """

    key: str
    image: Path | PictureBytes | None
    turns: tuple[str, ...]
    image_first: bool = True
    text_required: bool = False
    words: tuple[str, ...] = ()

    def messages(self, picture: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """The turns as chat messages, with the picture in the first.

        Args:
            picture: The content part for the picture, in the backend's form; None for no picture.
        """
        text = {"type": "text", "text": self.turns[0]}
        first: Any = self.turns[0]
        if picture is not None:
            first = [picture, text] if self.image_first else [text, picture]
        later = [
            {"role": "assistant" if number % 2 else "user", "content": turn}
            for number, turn in enumerate(self.turns[1:], 1)
        ]
        return [{"role": "user", "content": first}, *later]


@dataclass(frozen=True)
class Reply:
    """What became of a conversation. Every text in it is made storable; see `files.text`.

    Attributes:
        text: What the model said, without its thoughts; empty where there is no answer.
        outcome: None for an answer; `FILTERED` or `FAILED` where there is none.
        error: Why there is no answer, without secrets.
        finish_reason: ``stop``, ``length``, `REFUSAL`, or another reason that the backend reports.
        answered_by: The model that answered, by the server's own account; empty if unknown.
        input_tokens, output_tokens: As the backend counts them; 0 if it does not.
        thoughts: What it thought aloud; kept, but neither scored nor read as a verdict.
        fault: What a failure says about the next requests.
    """

    key: str
    text: str = ""
    outcome: Outcome | None = None
    error: str = ""
    finish_reason: str = ""
    answered_by: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    thoughts: str = ""
    fault: Fault | None = None

    def __post_init__(self) -> None:
        for name in ("text", "thoughts", "error", "finish_reason", "answered_by"):
            object.__setattr__(self, name, storable(getattr(self, name)))

    def without_thoughts(self, limit: int | None) -> Reply:
        """Return the reply with the thoughts in its text moved to their own field.

        A reply that reached the limit of new tokens before it said anything has failed.

        Args:
            limit: The limit of new tokens, for the message; None for none of ours.
        """
        said, thoughts = split_thoughts(self.text)
        reply = replace(self, text=said, thoughts=self.thoughts or thoughts)
        if reply.outcome is None and not said.strip() and reply.finish_reason == LENGTH:
            tokens = f"({limit})" if limit else "of the server"
            error = (
                f"the limit of new tokens {tokens} was reached before any "
                "answer. Raise --max-tokens."
            )
            reply = replace(reply, outcome=Outcome.FAILED, error=error)
        return reply


FORMS = ("choice", "json")
"""Forms of structured output: one word alone (vLLM and its server), or an object
``{"label": word}`` by JSON schema (OpenAI)."""


@dataclass(frozen=True)
class Structured:
    """Structured output: the backend allows no other text than one of some words.

    Attributes:
        words: The texts to choose from.
        form: One of `FORMS`.
    """

    words: tuple[str, ...]
    form: str = "choice"


@dataclass(frozen=True)
class Decoding:
    """How replies are decoded. The defaults are the protocol's: greedy, at most 512 new tokens.

    Attributes:
        temperature: 0 is greedy.
        max_tokens: Limit of new tokens; None for the model's own.
        seed: Seed of sampling, where the backend takes one; no effect on greedy decoding.
        structured: None for free text.
    """

    temperature: float = 0.0
    max_tokens: int | None = 512
    seed: int | None = None
    structured: Structured | None = None


class Model(Closing):
    """A model that continues conversations; close it after use.

    Attributes:
        backend: Who runs it: ``openai``, ``vllm``, ``transformers``, ...
        model: What is loaded or asked: a path, a repository id, the server's name for it.
        decoding: How its replies are decoded.
        server: Address of the server that is asked, without secrets; empty for a local model.
        settings: Whatever else may change a reply, as JSON, without secrets.
        worked_before: It has answered in an earlier sitting of the run, so that requests which fail
            each time do not mean that it cannot be asked.
    """

    backend: str
    model: str
    decoding: Decoding
    settings: Mapping[str, Any]
    server: str = ""
    worked_before: bool = False

    @property
    def name(self) -> str:
        """For example ``openai:gpt-4o-2024-11-20``."""
        return f"{self.backend}:{self.model}"

    @property
    def identity(self) -> dict[str, Any]:
        """What answers, as JSON: models of equal identity give equal replies, speed aside."""
        return {
            "backend": self.backend,
            "model": self.model,
            **({"server": self.server} if self.server else {}),
            "decoding": asdict(self.decoding),
            "settings": dict(self.settings),
        }

    @property
    def decoded_with(self) -> Mapping[str, Any]:
        """How replies were decoded so far, as JSON; None for what the backend does not take."""
        return asdict(self.decoding)

    def ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield exactly one reply per conversation, each as soon as it is finished, in any order.

        Conversations are drawn from the iterable as there is room for them, so it may be long and
        lazy. A conversation that fails yields a reply with an outcome.

        Raises:
            ModelSetupError: the model itself cannot be asked; earlier replies stand.
        """
        waiting: set[str] = set()

        def noted() -> Iterator[Conversation]:
            for conversation in conversations:
                waiting.add(conversation.key)
                yield conversation

        replies = self._ask(noted())
        try:
            for reply in replies:
                if reply.key not in waiting:
                    logger.warning("%s replied twice, or unasked, to %s", self.name, reply.key)
                    continue
                waiting.remove(reply.key)
                yield reply.without_thoughts(self.decoding.max_tokens)
        finally:
            # At once, not when the iterator is collected: it may have requests in flight.
            if isinstance(replies, Generator):
                replies.close()
        for key in sorted(waiting):
            yield Reply(key, outcome=Outcome.FAILED, error="the backend gave no reply")

    @abstractmethod
    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """The backend's part of `ask`."""

    def load(self) -> None:
        """Load what answers now, rather than when it is first asked.

        Raises:
            ModelSetupError: it cannot be loaded.
        """

    def status(self) -> Mapping[str, int | str]:
        """What else a progress line shows of it, name -> value; empty for nothing.

        It is also called by another thread while the model is asked.
        """
        return {}

    def close(self) -> None:
        """Release processes, connections and memory."""
