"""Conversations -> the texts of prompts and answers, as a model's chat template writes them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trl_ext.prefix_sharing.errors import FOREIGN_ERRORS, RowError

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Text = str | list[Message]


@dataclass(frozen=True)
class Conversation:
    """A prompt, the pictures it shows, and one answer to it.

    Attributes:
        name: Name of the row in error messages.
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


@contextmanager
def naming(conversation: Conversation) -> Iterator[None]:
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


class ChatTexts:
    """Writes conversations as a chat template does, all of a batch in two calls of the template.

    The completion is what the template adds to the prompt (with its generation header) for the
    answer: it ends as the template ends a turn. Where a header of the prompt is not repeated
    before an answer that is given, the prompt ends where both agree, as in TRL.

    Args:
        processor: A processor of transformers, or a tokenizer where no row has pictures.
    """

    def __init__(self, processor: Any) -> None:
        from transformers import ProcessorMixin

        self.processor = processor
        self._multimodal = isinstance(processor, ProcessorMixin)
        self._end: str = getattr(processor, "tokenizer", processor).eos_token
        self._picture_tokens = _picture_tokens(processor)
        self._compared = False

    def __call__(self, conversations: Sequence[Conversation]) -> list[tuple[str, str]]:
        """Return prompt and completion of each conversation."""
        texts: list[tuple[str, str]] = [("", "")] * len(conversations)
        alike: dict[tuple[str, bool], list[int]] = {}
        for index, each in enumerate(conversations):
            if isinstance(each.prompt, str) or isinstance(each.completion, str):
                with naming(each):
                    texts[index] = self._plain_texts(each)
                    if not each.images:  # otherwise the prompt says where they are
                        self._refuse_picture_tokens({"content": texts[index][0]})
                continue
            options = json.dumps(each.template_kwargs, sort_keys=True, default=str)
            continued = bool(each.prompt) and each.prompt[-1]["role"] == "assistant"
            alike.setdefault((options, continued), []).append(index)
        for (_, continued), members in alike.items():
            written = self._write([conversations[index] for index in members], continued)
            for index, text in zip(members, written, strict=True):
                texts[index] = text
        return texts

    def check(self, conversation: Conversation) -> None:
        """Check what does not need the template.

        Raises:
            RowError: texts and messages are mixed, or a text stands for a picture.
        """
        prompt, completion = conversation.prompt, conversation.completion
        with naming(conversation):
            if isinstance(prompt, str) or isinstance(completion, str):
                self._plain_texts(conversation)
                return
            for message in (*prompt, *completion):
                self._refuse_picture_tokens(message)

    def _plain_texts(self, conversation: Conversation) -> tuple[str, str]:
        """Return texts of TRL's standard format as they are, with an end of sequence."""
        prompt, completion = conversation.prompt, conversation.completion
        if not (isinstance(prompt, str) and isinstance(completion, str)):
            raise RowError(
                "prompt and answers are partly messages and partly texts",
                "Make all of them lists of messages (TRL's conversational format), or all texts",
            )
        self._refuse_picture_tokens({"content": completion})
        return prompt, completion if completion.endswith(self._end) else completion + self._end

    def _write(
        self, conversations: Sequence[Conversation], continued: bool
    ) -> list[tuple[str, str]]:
        """Write the texts of conversations with equal template options.

        Args:
            conversations: Their prompts and completions are lists of messages.
            continued: Whether prompts end within an assistant's message.
        """
        # The completions of a row share one list of messages as their prompt.
        prompts: dict[int, tuple[Conversation, list[Message]]] = {}
        wholes = []
        for each in conversations:
            with naming(each):
                if id(each.prompt) not in prompts:
                    prompts[id(each.prompt)] = each, self._messages(each.prompt, each.images)
                _, prompt = prompts[id(each.prompt)]
                wholes.append((each, [*prompt, *self._messages(each.completion, [])]))
        options = {"add_generation_prompt": not continued, "continue_final_message": continued}
        rendered = self._render(list(prompts.values()), options)
        starts = dict(zip(prompts, rendered, strict=True))
        if not continued:
            self._compare_with_inference(starts, wholes[0], self._render(wholes[:1], {})[0])
        texts = []
        for each, whole in zip(conversations, self._render(wholes, {}), strict=True):
            prompt_text = common_prefix([starts[id(each.prompt)], whole])
            texts.append((prompt_text, whole[len(prompt_text) :]))
        return texts

    def _render(
        self, items: Sequence[tuple[Conversation, list[Message]]], options: dict[str, bool]
    ) -> list[str]:
        options = {**items[0][0].template_kwargs, **options}
        apply: Callable[..., Any] = self.processor.apply_chat_template
        try:
            rendered: list[str] = apply([each for _, each in items], tokenize=False, **options)
        except FOREIGN_ERRORS:
            rendered = []
            for conversation, messages in items:  # one by one, to find the row
                with naming(conversation):
                    rendered.append(apply(messages, tokenize=False, **options))
        return rendered

    def _compare_with_inference(
        self, starts: dict[int, str], first: tuple[Conversation, list[Message]], whole: str
    ) -> None:
        """Warn once if the prompt of a generating model is longer than the prompt in training."""
        if self._compared:
            return
        self._compared = True
        shown = starts[id(first[0].prompt)]
        prompt = common_prefix([shown, whole])
        if prompt != shown:
            logger.warning(
                "The chat template ends a prompt with %r when a model is to answer, but does not "
                "write that before an answer that is given: the model is trained on another "
                "context than it generates in. If the template thinks aloud, switch that off by "
                "chat_template_kwargs, or write the thinking into the answers.",
                shown[len(prompt) :],
            )

    def _messages(self, messages: Any, images: list[Any]) -> list[Message]:
        from trl.data_utils import prepare_multimodal_messages

        # Arrow gives every part the keys of all parts: an image part has a `text` of None.
        cleaned = [
            {key: _without_none(value) for key, value in message.items()} for message in messages
        ]
        for message in cleaned:
            self._refuse_picture_tokens(message)
        if not (self._multimodal or self._takes_parts):
            return [{**each, "content": _plain_text(each["content"])} for each in cleaned]
        prepared: list[Message] = prepare_multimodal_messages(cleaned, images=images)
        return prepared

    @cached_property
    def _takes_parts(self) -> bool:
        """Whether a tokenizer's template writes the texts in a list of parts, as that of a model
        for pictures does; those of other models take contents that are strings."""
        content = [{"type": "text", "text": "words"}]
        try:
            written = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False
            )
        except FOREIGN_ERRORS:
            return False
        printed = any(f"{quote}type{quote}" in written for quote in "'\"")
        return "words" in written and not printed

    def _refuse_picture_tokens(self, message: Message) -> None:
        content = message.get("content")
        parts = [{"text": content}] if isinstance(content, str) else content or []
        for token in self._picture_tokens:
            if any(token in (part.get("text") or "") for part in parts):
                raise RowError(
                    f"a text contains {token!r}, which stands for a picture in this model",
                    "Write the text without it",
                )


def common_prefix(texts: Sequence[str]) -> str:
    """Return the characters that all of `texts` begin with."""
    first, last = min(texts), max(texts)  # what these share, all between them in order share, too
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((place for place, (a, b) in pairs if a != b), len(first))]


def _picture_tokens(processor: Any) -> list[str]:
    """Return the texts that stand for pictures or parts of them in the family of `processor`."""
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
