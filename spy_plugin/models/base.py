"""What a backend takes and gives: conversations in, replies out, in whatever order they finish."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import SpyBenchError


class ModelSetupError(SpyBenchError):
    """The model cannot be asked with the options and keys at hand."""


@dataclass(frozen=True)
class Conversation:
    """A picture and the turns so far; the model is to say the next one.

    Attributes:
        sample_id: Whose conversation it is; a reply carries it back.
        image: The picture's file.
        turns: User and assistant in turn, beginning and ending with the user's.
        image_first: The picture stands before the first turn's text, else after it.
    """

    sample_id: str
    image: Path
    turns: tuple[str, ...]
    image_first: bool = True

    def messages(self, picture: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The turns as chat messages; the picture is in the first.

        Args:
            picture: The part that stands for it, in the backend's form.
        """
        text = {"type": "text", "text": self.turns[0]}
        first = [picture, text] if self.image_first else [text, picture]
        later = [
            {"role": "assistant" if number % 2 else "user", "content": turn}
            for number, turn in enumerate(self.turns[1:], 1)
        ]
        return [{"role": "user", "content": first}, *later]


@dataclass(frozen=True)
class Reply:
    """What became of a conversation.

    Attributes:
        text: What the model said; empty if nothing could be had.
        outcome: None if there is an answer; `FILTERED` or `FAILED` if there is none.
        error: Why there is none, without secrets.
        input_tokens, output_tokens: As the backend counts them; 0 if it does not.
    """

    sample_id: str
    text: str = ""
    outcome: Outcome | None = None
    error: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Decoding:
    """How answers are drawn. The defaults are the protocol's: greedy, at most 512 new tokens.

    Attributes:
        temperature: 0 is greedy.
        max_tokens: None leaves the length to the model.
        seed: Of the draws, where the backend takes one; of no effect on greedy decoding.
    """

    temperature: float = 0.0
    max_tokens: int | None = 512
    seed: int | None = None


class Backend(ABC):
    """A model that answers conversations.

    Attributes:
        name: ``vllm`` or ``openai``.
        model: What was loaded or asked.
        settings: Whatever else may change an answer, as JSON; a run with other settings is another
            run.
    """

    name: str
    model: str
    settings: Mapping[str, Any]

    @abstractmethod
    def answer(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield a reply for each conversation as soon as it is there.

        Conversations are drawn from the iterable as there is room for them, so that it may be long
        and lazy; there is no barrier between them. A conversation that fails is a `Reply` with an
        outcome; what is wrong with the backend itself is raised.
        """

    def close(self) -> None:  # noqa: B027 - a backend may have nothing to let go of
        """Let go of processes, connections and memory."""
