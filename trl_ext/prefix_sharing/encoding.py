"""Conversations with pictures -> `TokenBatch`, for any processor of transformers.

Nothing here knows of a loss. A picture that occurs more than once in a batch is decoded, and put
through the image processor, once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trl_ext.prefix_sharing.errors import FOREIGN_ERRORS, RowError
from trl_ext.prefix_sharing.pictures import PictureGroup, PictureGroups
from trl_ext.prefix_sharing.token_batch import TokenBatch

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Text = str | list[Message]
Encoded = dict[str, Tensor]


@dataclass(frozen=True)
class Conversation:
    """A prompt, the pictures it shows, and one answer to it.

    Attributes:
        name: What error messages call it.
        images: Pictures, or files as `pictures.undecoded` rows have them.
        prompt: Messages; pictures are placed at their placeholders, or before the text of the
            first user message that is a plain string. Or the text itself.
        completion: The assistant's messages; the text itself if the prompt is a text.
        template_kwargs: Passed on to the chat template.
    """

    name: str
    images: list[Any]
    prompt: Text
    completion: Text
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
        self._picture_tokens = _picture_tokens(processor)
        self._said: set[str] = set()

    def __call__(self, conversations: Sequence[Conversation]) -> TokenBatch:
        """The sequence of each conversation, in order."""
        pictures = PictureGroups()
        prompts: dict[tuple[int, str], Encoded] = {}
        encoded, answers, shown = [], [], []
        for conversation in conversations:
            with _naming(conversation):
                group = pictures.of(conversation.images)
                prompt, completion = self._texts(conversation)
                key = (group.index if group else -1, prompt)
                if key not in prompts:
                    prompts[key] = self._encode_prompt(conversation, prompt, group)
                encoded.append(prompts[key])
                answers.append(self._encode_completion(conversation, completion, encoded[-1]))
                shown.append(key[0])
        input_ids = [
            torch.cat([prompt["input_ids"], answer])
            for prompt, answer in zip(encoded, answers, strict=True)
        ]
        # Completions hold no pictures: their token types are those of text, 0.
        types = dict.fromkeys(name for each in encoded for name in each if name != "input_ids")
        return TokenBatch(
            input_ids=input_ids,
            prompt_lengths=[len(each["input_ids"]) for each in encoded],
            picture=shown,
            vision=[each.tensors for each in pictures.groups],
            token_inputs={
                name: [
                    torch.cat([each.get(name, each["input_ids"] * 0), answer * 0])
                    for each, answer in zip(encoded, answers, strict=True)
                ]
                for name in types
            },
        )

    def _texts(self, conversation: Conversation) -> tuple[str, str]:
        """Prompt and completion as the chat template writes them."""
        from trl.data_utils import apply_chat_template

        prompt, completion = conversation.prompt, conversation.completion
        if isinstance(prompt, str) or isinstance(completion, str):
            return self._plain_texts(prompt, completion)
        for message in (*prompt, *completion):
            self._refuse_picture_tokens(message)
        example = {
            "prompt": self._messages(prompt, conversation.images),
            "completion": self._messages(completion, []),
        }
        texts = apply_chat_template(example, self.processor, **conversation.template_kwargs)
        self._compare_with_inference(example["prompt"], texts["prompt"], conversation)
        return texts["prompt"], texts["completion"]

    def _plain_texts(self, prompt: Text, completion: Text) -> tuple[str, str]:
        """TRL's standard format: the texts as they are, the end of sequence after the answer."""
        if not (isinstance(prompt, str) and isinstance(completion, str)):
            raise RowError(
                "prompt and answers are partly messages and partly texts",
                "Make all of them lists of messages (TRL's conversational format), or all texts",
            )
        end = self.tokenizer.eos_token
        return prompt, completion if completion.endswith(end) else completion + end

    def _compare_with_inference(
        self, messages: list[Message], prompt: str, conversation: Conversation
    ) -> None:
        """Warn once if a model that generates is shown more before its answer than here."""
        if "header" in self._said or messages[-1]["role"] == "assistant":
            return
        self._said.add("header")
        shown = self.processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **conversation.template_kwargs
        )
        if not prompt.startswith(shown):
            rest = shown[len(prompt) :] if shown.startswith(prompt) else shown[-60:]
            logger.warning(
                "The chat template ends a prompt with %r when a model is to answer, but does not "
                "write that before an answer that is given: the model is trained on another "
                "context than it generates in. If the template thinks aloud, switch that off by "
                "chat_template_kwargs, or write the thinking into the answers.",
                rest,
            )

    def _refuse_picture_tokens(self, message: Message) -> None:
        content = message.get("content")
        parts = [{"text": content}] if isinstance(content, str) else content or []
        for token in self._picture_tokens:
            if any(token in (part.get("text") or "") for part in parts):
                raise RowError(
                    f"a text contains {token!r}, which stands for a picture in this model",
                    "Write the text without it",
                )

    def _messages(self, messages: list[Message], images: list[Any]) -> list[Message]:
        from transformers import ProcessorMixin
        from trl.data_utils import prepare_multimodal_messages

        # Arrow gives every part the keys of all parts: an image part has a `text` of None.
        cleaned = [
            {key: _without_none(value) for key, value in message.items()} for message in messages
        ]
        if not isinstance(self.processor, ProcessorMixin):
            return [{**each, "content": _plain_text(each["content"])} for each in cleaned]
        prepared: list[Message] = prepare_multimodal_messages(cleaned, images=images)
        return prepared

    def _encode_prompt(
        self, conversation: Conversation, text: str, group: PictureGroup | None
    ) -> Encoded:
        """`input_ids` and token types of a prompt, image tokens expanded."""
        if self.processor is self.tokenizer:
            if group:
                raise RowError(
                    "the row has pictures, but there is only a tokenizer to encode it",
                    "Pass the model's processor as processing_class",
                )
            # A chat template has written the special tokens: they must not be added again.
            added = isinstance(conversation.prompt, str)
            ids = self.tokenizer(text, add_special_tokens=added)["input_ids"]
            prompt = {"input_ids": torch.tensor(ids, dtype=torch.long)}
        else:
            prompt = self._process(text, group)
        length = len(prompt["input_ids"])
        if self.max_length is not None and length >= self.max_length:
            raise RowError(
                f"the prompt has {length} tokens with its pictures, so max_length="
                f"{self.max_length} leaves no room for a completion",
                "Raise max_length, set it to None, or let the processor make pictures smaller",
            )
        return prompt

    def _process(self, text: str, group: PictureGroup | None) -> Encoded:
        options = {"add_special_tokens": False, "return_tensors": "pt"}
        if group is None:
            encoded = dict(self.processor(text=[text], **options))
        else:
            with group.processed_once(self.processor.image_processor):
                encoded = dict(self.processor(images=[group.images], text=[text], **options))
        encoded.pop("attention_mask", None)
        prompt = {
            name: encoded.pop(name)[0]
            for name in list(encoded)
            if name == "input_ids" or name.endswith("token_type_ids")
        }
        if group is not None:
            group.tensors = {
                name: value for name, value in encoded.items() if isinstance(value, Tensor)
            }
        return prompt

    def _encode_completion(self, conversation: Conversation, text: str, prompt: Encoded) -> Tensor:
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
            raise RowError("a completion is empty", "Write one or leave the row out")
        room = None if self.max_length is None else self.max_length - len(prompt["input_ids"])
        if room is not None and len(ids) > room:
            ids = ids[:room]
            self._say_once(
                f"Completions are cut at max_length={self.max_length} tokens, the first of them "
                f"in {conversation.name}; a cut completion lacks its end of turn."
            )
        return torch.tensor(ids, dtype=torch.long)

    def _say_once(self, warning: str) -> None:
        if warning[:40] not in self._said:
            self._said.add(warning[:40])
            logger.warning(warning)


@contextmanager
def _naming(conversation: Conversation) -> Iterator[None]:
    """Let every error of a template, a processor or a decoder name the row."""
    try:
        yield
    except RowError as error:
        raise RowError(error.problem, error.remedy, where=conversation.name) from error
    except FOREIGN_ERRORS as error:
        raise RowError(
            f"the processor or its chat template does not take the row ({error})",
            "Change the row, or leave it out",
            where=conversation.name,
        ) from error


def _picture_tokens(processor: Any) -> list[str]:
    """Texts that stand for pictures or parts of them in the family of `processor`."""
    found: dict[str, None] = {}
    for owner in (processor, getattr(processor, "tokenizer", None)):
        for name in ("image_token", "video_token", "boi_token", "fake_image_token"):
            value = getattr(owner, name, None)
            if isinstance(value, str) and value:
                found[value] = None
    return list(found)


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
