"""Conversations with pictures -> `TokenBatch`, for any processor of transformers.

It does not depend on a loss. A picture that occurs more than once in a batch is decoded and
processed once; texts are written and tokenized together.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trl_ext.prefix_sharing.chat_texts import ChatTexts, Conversation, naming
from trl_ext.prefix_sharing.errors import RowError
from trl_ext.prefix_sharing.pictures import PictureGroup, PictureGroups
from trl_ext.prefix_sharing.prompts import Encoded, PromptEncoder
from trl_ext.prefix_sharing.token_batch import TokenBatch

logger = logging.getLogger(__name__)


class SequenceEncoder:
    """Encodes conversations as token sequences.

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
        self._texts = ChatTexts(processor)
        self._prompts = PromptEncoder(processor)
        self._said: set[str] = set()

    def __call__(self, conversations: Sequence[Conversation]) -> TokenBatch:
        """Return the sequence of each conversation, in order."""
        pictures = PictureGroups()
        groups: list[PictureGroup | None] = []
        for each in conversations:
            with naming(each):
                groups.append(pictures.of(each.images))
        texts = self._texts(conversations)
        prompts = self._encode_prompts(conversations, [text for text, _ in texts], groups)
        answers = self._encode_completions(conversations, [text for _, text in texts], prompts)
        # Completions hold no pictures: their token types are those of text, 0.
        types = dict.fromkeys(name for each in prompts for name in each if name != "input_ids")
        return TokenBatch(
            input_ids=[
                torch.cat([prompt["input_ids"], answer])
                for prompt, answer in zip(prompts, answers, strict=True)
            ],
            prompt_lengths=[len(each["input_ids"]) for each in prompts],
            picture=[group.index if group else -1 for group in groups],
            vision=[each.tensors for each in pictures.groups],
            token_inputs={
                name: [
                    torch.cat([each.get(name, each["input_ids"] * 0), answer * 0])
                    for each, answer in zip(prompts, answers, strict=True)
                ]
                for name in types
            },
        )

    def check(self, conversation: Conversation) -> None:
        """Check a conversation's texts without encoding it; raise `RowError` if they are wrong."""
        self._texts.check(conversation)

    def _encode_prompts(
        self,
        conversations: Sequence[Conversation],
        texts: Sequence[str],
        groups: Sequence[PictureGroup | None],
    ) -> list[Encoded]:
        """Encode the prompt of each conversation; each distinct one is encoded once."""
        alike: dict[tuple[int, bool], dict[str, int]] = {}
        keys = []
        for index, (each, group) in enumerate(zip(conversations, groups, strict=True)):
            keys.append((group.index if group else -1, not isinstance(each.prompt, str)))
            alike.setdefault(keys[-1], {}).setdefault(texts[index], index)
        encoded: dict[tuple[int, bool], dict[str, Encoded]] = {}
        for key, distinct in alike.items():
            first = next(iter(distinct.values()))
            with naming(conversations[first]):
                tokens = self._prompts(list(distinct), groups[first], written=key[1])
            encoded[key] = dict(zip(distinct, tokens, strict=True))
            for index, prompt in zip(distinct.values(), tokens, strict=True):
                self._check_room(conversations[index], len(prompt["input_ids"]))
        return [encoded[key][text] for key, text in zip(keys, texts, strict=True)]

    def _check_room(self, conversation: Conversation, length: int) -> None:
        if self.max_length is not None and length >= self.max_length:
            raise RowError(
                f"the prompt has {length} tokens with its pictures, so max_length="
                f"{self.max_length} leaves no room for a completion",
                "Raise max_length, set it to None, or let the processor make pictures smaller",
                where=conversation.name,
            )

    def _encode_completions(
        self,
        conversations: Sequence[Conversation],
        texts: Sequence[str],
        prompts: Sequence[Encoded],
    ) -> list[Tensor]:
        special = torch.tensor(self.tokenizer.all_special_ids)
        end = torch.tensor([self.tokenizer.eos_token_id] if self.extra_end_token else [])
        answers = []
        tokens = self._prompts.tokens(texts)
        for conversation, ids, prompt in zip(conversations, tokens, prompts, strict=True):
            if not self.extra_end_token and not torch.isin(ids[-3:], special).any():
                self._say_once(
                    "The chat template ends a turn without a special token, so the model does not "
                    "learn to stop; extra_end_token=True adds the end-of-sequence token."
                )
            ids = torch.cat([ids, end.long()])
            if not len(ids):
                raise RowError(
                    "a completion is empty",
                    "Write one or leave the row out",
                    where=conversation.name,
                )
            room = None if self.max_length is None else self.max_length - len(prompt["input_ids"])
            if room is not None and len(ids) > room:
                ids = ids[:room]
                self._say_once(
                    f"Completions are cut at max_length={self.max_length} tokens, the first of "
                    f"them in {conversation.name}; a cut completion lacks its end of turn."
                )
            answers.append(ids)
        return answers

    def _say_once(self, warning: str) -> None:
        if warning[:40] not in self._said:
            self._said.add(warning[:40])
            logger.warning(warning)
