"""Models that transformers runs in this process, in batches of conversations in their order."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from spy_plugin.benchmark.records import Outcome
from spy_plugin.data.pictures import open_rgb
from spy_plugin.errors import MissingDependencyError
from spy_plugin.files.text import one_line
from spy_plugin.models.base import Conversation, Decoding, Model, ModelSetupError, Reply
from spy_plugin.models.checkpoint import MAX_NEW_TOKENS, Chat, Checkpoint
from spy_plugin.models.engine_arguments import text_settings
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.pictures import load_ahead
from spy_plugin.models.repositories import load_hint

if TYPE_CHECKING:
    from concurrent.futures import Future

    from PIL import Image


class TransformersModel(Model):
    """A checkpoint from a folder or the hub, in batches of conversations in their order.

    Args:
        model: What `Checkpoint` takes.
        options: Its `engine_args` (arguments of `from_pretrained`, and ``device``) and batch size
            apply.

    Raises:
        MissingDependencyError: transformers is not installed.
        ModelSetupError: the decoding asks for what this backend cannot do.
    """

    backend = "transformers"

    def __init__(self, model: str, decoding: Decoding, options: ModelOptions | None = None) -> None:
        if importlib.util.find_spec("transformers") is None:
            raise MissingDependencyError("transformers", "train")
        if decoding.temperature or decoding.max_tokens is None or decoding.structured is not None:
            raise ModelSetupError(
                "transformers decodes greedily, with a limit of new tokens, and writes free text. "
                "Leave out --temperature and --structured, give --max-tokens, or use vllm."
            )
        self.model, self.decoding = model, decoding
        self._options = options or ModelOptions()
        self._arguments = dict(self._options.engine_args)
        if self._options.trust_remote_code:
            self._arguments["trust_remote_code"] = True
        self.settings = text_settings(self.backend, self._arguments)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Loaded when first asked: a run that has nothing to do loads nothing.

        Raises:
            ModelSetupError: transformers cannot load the model.
        """
        limit = self.decoding.max_tokens or MAX_NEW_TOKENS
        try:
            return Checkpoint(
                self.model,
                batch_size=self._options.batch_size,
                max_new_tokens=limit,
                **self._arguments,
            )
        except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
            raise ModelSetupError(
                f"transformers cannot load {self.model} ({type(error).__name__}: "
                f"{one_line(error)}). {load_hint(str(error), self.model)}"
            ) from error

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        with closing(load_ahead(conversations, open_rgb)) as loaded:
            first = next(loaded, None)
            if first is None:
                return
            batch: list[tuple[Conversation, Future[Image.Image] | None]] = [first]
            while batch:
                batch += islice(loaded, self.checkpoint.batch_size - len(batch))
                yield from self._replies(batch)
                batch = list(islice(loaded, 1))

    def load(self) -> None:
        """Load the checkpoint."""
        _ = self.checkpoint

    def close(self) -> None:
        """Free the model's memory."""
        self.__dict__.pop("checkpoint", None)  # as cached, if it was ever loaded

    def _replies(
        self, batch: Sequence[tuple[Conversation, Future[Image.Image] | None]]
    ) -> Iterator[Reply]:
        chats: dict[str, Chat] = {}
        for conversation, picture in batch:
            try:
                chats[conversation.key] = self._chat(conversation, picture)
            except OSError as error:
                yield _failed(conversation.key, error)
        yield from self._complete(chats)

    def _complete(self, chats: dict[str, Chat]) -> Iterator[Reply]:
        """One batch; one by one where a chat in it cannot be encoded, so that it fails alone."""
        if not chats:
            return
        try:
            found = self.checkpoint.complete(list(chats.values()))
        except (ValueError, RuntimeError) as error:
            for key, chat in chats.items():
                alone = self._complete({key: chat}) if len(chats) > 1 else [_failed(key, error)]
                yield from alone
            return
        for key, each in zip(chats, found, strict=True):
            yield Reply(
                key,
                text=each.text,
                finish_reason="stop" if each.finished else "length",
                input_tokens=each.input_tokens,
                output_tokens=each.output_tokens,
            )

    def _chat(self, conversation: Conversation, picture: Future[Image.Image] | None) -> Chat:
        part = {"type": "image", "image": picture.result()} if picture else None
        messages = conversation.messages(part)
        if not self.checkpoint.sees:
            if picture:
                raise OSError(f"{self.model} is a text model and takes no pictures")
            return messages
        return [
            message | {"content": [{"type": "text", "text": message["content"]}]}
            if isinstance(message["content"], str)
            else message
            for message in messages
        ]


def _failed(key: str, error: Exception) -> Reply:
    text = f"{type(error).__name__}: {one_line(error)}"
    return Reply(key, outcome=Outcome.FAILED, error=text)
