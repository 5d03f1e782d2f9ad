"""The tokens of prompts: those of one picture are tokenized together, its expansion once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trl_ext.prefix_sharing.chat_texts import common_prefix
from trl_ext.prefix_sharing.errors import RowError
from trl_ext.prefix_sharing.pictures import PictureGroup

Encoded = dict[str, Tensor]
"""`input_ids` and the family's token types of a prompt, each `(tokens,)`."""


class PromptEncoder:
    """Encodes prompts that show the same pictures.

    Only the processor knows how many tokens a picture takes and what surrounds them, so it sees
    the first prompt whole. The other prompts repeat its tokens up to the last special token that
    all of them share, and differ in text alone from there; a tokenizer splits texts at special
    tokens before anything else, so what follows one can be tokenized by itself. That this holds is
    checked on the first prompt; otherwise the processor sees every prompt.

    Args:
        processor: A processor of transformers, or a tokenizer where no row has pictures.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        added = self.tokenizer.added_tokens_decoder
        self._special = {index: token.content for index, token in added.items()}

    def __call__(
        self, texts: Sequence[str], group: PictureGroup | None, *, written: bool
    ) -> list[Encoded]:
        """Return the tokens of each text, image tokens expanded; fill `group.tensors`.

        Args:
            texts: Prompts that show the pictures of `group`.
            group: Their pictures, None without.
            written: Whether a chat template has written the special tokens of `texts`.
        """
        if self.processor is self.tokenizer:
            if group:
                raise RowError(
                    "the row has pictures, but there is only a tokenizer to encode it",
                    "Pass the model's processor as processing_class",
                )
            return [{"input_ids": each} for each in self.tokens(texts, add=not written)]
        first = self._process(texts[0], group)
        others = self._by_their_ends(texts, first) if len(texts) > 1 else []
        if others is None:
            others = [self._process(text, group) for text in texts[1:]]
        return [first, *others]

    def tokens(self, texts: Sequence[str], *, add: bool = False) -> list[Tensor]:
        """Tokenize texts without pictures; `add` lets the tokenizer add special tokens."""
        ids = self.tokenizer(list(texts), add_special_tokens=add)["input_ids"]
        return [torch.tensor(each, dtype=torch.long) for each in ids]

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

    def _by_their_ends(self, texts: Sequence[str], first: Encoded) -> list[Encoded] | None:
        """Tokenize all texts but the first by their ends; None where these cannot stand alone."""
        shared = common_prefix(texts)
        ids = first["input_ids"]
        there = [index for index in set(ids.tolist()) if index in self._special]
        places = [(shared.rfind(self._special[index]), index) for index in there]
        start, token = max(places, default=(-1, 0))
        if start < 0:
            return None
        own, *ends = self.tokens([text[start:] for text in texts])
        through = len(ids) - len(own) + 1  # the tokens up to that special token and with it
        types = [values for name, values in first.items() if name != "input_ids"]
        alone = (
            through > 0
            and int(own[0]) == token
            and torch.equal(ids[through - 1 :], own)
            and not any(each[through:].any() for each in types)
        )
        if not alone:
            return None
        return [
            {
                name: torch.cat([values[:through], end[1:] if values is ids else end[1:] * 0])
                for name, values in first.items()
            }
            for end in ends
        ]
