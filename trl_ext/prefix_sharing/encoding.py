"""Conversations with pictures -> `TokenBatch`, for any processor of transformers.

Nothing here knows of a loss. Pictures that occur more than once in a batch are put through the
image processor once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spy_plugin.errors import DataError
from trl_ext.prefix_sharing.token_batch import TokenBatch

logger = logging.getLogger(__name__)

Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """A prompt, the pictures it shows, and one answer to it.

    Attributes:
        name: What error messages call it.
        prompt: Messages; pictures are placed at their placeholders, or before the text of the
            first user message that is a plain string.
        completion: The assistant's messages.
        template_kwargs: Passed on to the chat template.
    """

    name: str
    images: list[Any]
    prompt: list[Message]
    completion: list[Message]
    template_kwargs: dict[str, Any]


class SequenceEncoder:
    """Encodes conversations as token sequences.

    The text is what the chat template makes of it. The completion is what the template adds to
    the prompt (with its generation header) for the answer: it ends as the template ends a turn.

    Args:
        processor: A processor of transformers, or a tokenizer where no row has pictures.
        max_length: Longest sequence in tokens. Longer completions are cut at their end; a prompt
            that leaves no room for a completion is an error, for cutting it could cut pictures.
        extra_end_token: Append the end-of-sequence token to every completion, as the official
            code does after a template that has ended the turn already.
    """

    def __init__(
        self, processor: Any, max_length: int | None = None, extra_end_token: bool = False
    ) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.max_length = max_length
        self.extra_end_token = extra_end_token
        self._said: set[str] = set()

    def __call__(self, conversations: list[Conversation]) -> TokenBatch:
        """The sequence of each conversation, in order."""
        pictures: dict[str, _Pictures] = {}
        prompts: dict[tuple[str, str], dict[str, Tensor]] = {}
        input_ids, prompt_lengths, picture, types = [], [], [], []
        for conversation in conversations:
            prompt, completion = self._texts(conversation)
            digest = _digest(conversation)
            if digest and digest not in pictures:
                pictures[digest] = _Pictures(len(pictures), conversation.images)
            shown = pictures.get(digest)
            if (digest, prompt) not in prompts:
                prompts[digest, prompt] = self._encode_prompt(conversation, prompt, shown)
            encoded = prompts[digest, prompt]
            answer = self._encode_completion(conversation, completion, len(encoded["input_ids"]))
            input_ids.append(torch.cat([encoded["input_ids"], answer]))
            prompt_lengths.append(len(encoded["input_ids"]))
            picture.append(shown.index if shown else -1)
            # Completions hold no pictures: their token types are those of text, 0.
            types.append(
                {
                    name: torch.cat([values, torch.zeros_like(answer)])
                    for name, values in encoded.items()
                    if name != "input_ids"
                }
            )
        return TokenBatch(
            input_ids=input_ids,
            prompt_lengths=prompt_lengths,
            picture=picture,
            vision=[each.tensors for each in pictures.values()],
            token_inputs={
                name: [
                    each.get(name, torch.zeros_like(ids))
                    for each, ids in zip(types, input_ids, strict=True)
                ]
                for name in dict.fromkeys(name for each in types for name in each)
            },
        )

    def _texts(self, conversation: Conversation) -> tuple[str, str]:
        """Prompt and completion as the chat template writes them."""
        from trl.data_utils import apply_chat_template

        example = {
            "prompt": self._messages(conversation, conversation.prompt, conversation.images),
            "completion": self._messages(conversation, conversation.completion, []),
        }
        texts = apply_chat_template(example, self.processor, **conversation.template_kwargs)
        return texts["prompt"], texts["completion"]

    def _messages(
        self, conversation: Conversation, messages: list[Message], images: list[Any]
    ) -> list[Message]:
        from transformers import ProcessorMixin
        from trl.data_utils import prepare_multimodal_messages

        # Arrow gives every part the keys of all parts: an image part has a `text` of None.
        cleaned = [
            {key: _without_none(value) for key, value in message.items()} for message in messages
        ]
        if not isinstance(self.processor, ProcessorMixin):
            return [{**each, "content": _plain_text(each["content"])} for each in cleaned]
        try:
            prepared: list[Message] = prepare_multimodal_messages(cleaned, images=images)
        except ValueError as error:
            raise DataError(
                str(error).rstrip("."),
                "Give the prompt one image part for each entry of `images`",
                where=conversation.name,
            ) from error
        return prepared

    def _encode_prompt(
        self, conversation: Conversation, text: str, shown: _Pictures | None
    ) -> dict[str, Tensor]:
        """`input_ids` and token types of a prompt, image tokens expanded."""
        # The template has written the special tokens: the tokenizer must not add them again.
        options = {"add_special_tokens": False, "return_tensors": "pt"}
        if self.processor is self.tokenizer:
            if shown:
                raise DataError(
                    "the row has pictures, but there is only a tokenizer to encode it",
                    "Pass the model's processor as processing_class",
                    where=conversation.name,
                )
            return {"input_ids": self.tokenizer([text], **options)["input_ids"][0]}
        if shown is None:
            encoded = dict(self.processor(text=[text], **options))
        else:
            with shown.processed_once(self.processor.image_processor):
                encoded = dict(self.processor(images=[shown.images], text=[text], **options))
        encoded.pop("attention_mask", None)
        prompt = {
            name: encoded.pop(name)[0]
            for name in list(encoded)
            if name == "input_ids" or name.endswith("token_type_ids")
        }
        if shown is not None:
            shown.tensors = {
                name: value for name, value in encoded.items() if isinstance(value, Tensor)
            }
        self._check_room(conversation, len(prompt["input_ids"]))
        return prompt

    def _check_room(self, conversation: Conversation, length: int) -> None:
        if self.max_length is not None and length >= self.max_length:
            raise DataError(
                f"the prompt has {length} tokens with its pictures, so max_length="
                f"{self.max_length} leaves no room for a completion",
                "Raise max_length, set it to None, or let the processor make pictures smaller",
                where=conversation.name,
            )

    def _encode_completion(
        self, conversation: Conversation, text: str, prompt_length: int
    ) -> Tensor:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        special = set(self.tokenizer.all_special_ids)
        if not self.extra_end_token and not special.intersection(ids[-3:]):
            self._say_once(
                "The chat template ends a turn without a special token, so the model does not "
                "learn to stop; extra_end_token=True adds the end-of-sequence token."
            )
        if self.extra_end_token:
            ids = [*ids, self.tokenizer.eos_token_id]
        if not ids:
            raise DataError(
                "a completion is empty", "Write one or leave the row out", where=conversation.name
            )
        if self.max_length is not None and prompt_length + len(ids) > self.max_length:
            ids = ids[: self.max_length - prompt_length]
            self._say_once(
                f"Completions are cut at max_length={self.max_length} tokens, the first of them "
                f"in {conversation.name}; a cut completion lacks its end of turn."
            )
        return torch.tensor(ids, dtype=torch.long)

    def _say_once(self, warning: str) -> None:
        if warning[:40] not in self._said:
            self._said.add(warning[:40])
            logger.warning(warning)


class _Pictures:
    """The pictures of one group, their place in `TokenBatch.vision`, and their tensors."""

    def __init__(self, index: int, images: list[Any]) -> None:
        self.index = index
        self.images = images
        self.tensors: dict[str, Tensor] = {}
        self._features: Any = None

    @contextmanager
    def processed_once(self, image_processor: Any) -> Iterator[None]:
        """Inside, `image_processor` works on the first call and repeats its answer after that.

        How many tokens a picture takes, and what surrounds them, only the processor knows: it has
        to see the pictures with every prompt. What it makes of them does not depend on the prompt.
        """
        work = image_processor.preprocess

        def preprocess(*args: Any, **kwargs: Any) -> Any:
            if self._features is None:
                self._features = work(*args, **kwargs)
            # A copy, because processors take out entries that the model does not need.
            return type(self._features)(dict(self._features))

        image_processor.preprocess = preprocess
        try:
            yield
        finally:
            del image_processor.preprocess


def _digest(conversation: Conversation) -> str:
    """Equal for equal pictures in equal order; empty without pictures."""
    from PIL.Image import Image

    if not conversation.images:
        return ""
    digest = hashlib.sha256()
    for image in conversation.images:
        if not isinstance(image, Image):
            raise DataError(
                f"a picture is a {type(image).__name__}, not a PIL image",
                "Cast the column: dataset.cast_column('images', datasets.List(datasets.Image()))",
                where=conversation.name,
            )
        digest.update(f"{image.mode} {image.size}".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


def _without_none(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    return value


def _plain_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
