"""A checkpoint that transformers runs in this process, as both hosts and we use it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spy_plugin.compat.torchao import quiet_torchao
from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.json import read_json
from spy_plugin.models.packaged import PACKAGED, checkpoint_folder
from spy_plugin.models.repositories import split_revision

logger = logging.getLogger(__name__)

Chat = Sequence[Mapping[str, Any]]
"""Turns as chat templates take them; a picture is a part of type ``image``, a PIL image."""

MAX_NEW_TOKENS = 512
"""The protocol's limit."""

BATCH_SIZE = 8
BATCH_SIZE_VARIABLE = "SPY_BENCH_BATCH_SIZE"


_ADAPTER = "adapter_config.json"
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")


def check_name(name: str) -> None:
    """Check that a name may be a checkpoint's; loads nothing and asks nobody.

    Args:
        name: As for `Checkpoint`.

    Raises:
        SpyBenchError: it is neither a folder with a checkpoint nor a hub id in form.
    """
    folder = Path(name)
    if name in PACKAGED:
        return
    if folder.is_dir():
        if not any((folder / file).is_file() for file in ("config.json", _ADAPTER)):
            raise SpyBenchError(
                f"{name} holds no config.json. Name the folder of a checkpoint in the format of "
                "transformers, as save_pretrained writes it."
            )
    elif not _HUB_ID.fullmatch(name):
        raise SpyBenchError(
            f"{name}: no such folder, and not a hub id (ORGANISATION/NAME). Check the path."
        )


@dataclass(frozen=True)
class Continuation:
    """What the assistant says next in a chat.

    Attributes:
        finished: The model ended its turn; else it was cut at the limit.
    """

    text: str
    finished: bool
    input_tokens: int
    output_tokens: int


class Checkpoint:
    """A checkpoint behind its own chat template, decoded greedily.

    Vision-language models load as `AutoModelForImageTextToText`, text models as
    `AutoModelForCausalLM`.

    Args:
        name: Hub id, perhaps with ``@`` and a revision, folder (of a model, or of PEFT's adapters,
            which name their model), or a name of `PACKAGED`.
        batch_size: Conversations continued together; by default SPY_BENCH_BATCH_SIZE, else 8, or
            32 for a packaged model.
        max_new_tokens: Limit of an answer; a packaged model may have a lower one.
        device: `cuda`, `mps` or `cpu`; by default the first that is available.
        trust_remote_code: Run Python code of the repository, which some models need.
        model_kwargs: Further arguments of `from_pretrained`.

    Raises:
        SpyBenchError: the weights of a packaged model are missing, or the variable is not a number.
    """

    def __init__(
        self,
        name: str,
        *,
        batch_size: int | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        device: str | None = None,
        trust_remote_code: bool = False,
        **model_kwargs: Any,
    ) -> None:
        declare_missing_ops()  # transformers imports torchvision wherever it is installed
        quiet_torchao()  # and torchao
        import torch
        import transformers

        own = PACKAGED.get(name)
        path, revision = (str(checkpoint_folder(name)), "") if own else split_revision(name)
        source: dict[str, Any] = {"revision": revision} if revision else {}
        if trust_remote_code:
            source["trust_remote_code"] = True
        self.batch_size = batch_size or _wanted_batch_size(own.batch_size if own else BATCH_SIZE)
        own_limit = own.max_new_tokens if own else None
        self.max_new_tokens = min(max_new_tokens, own_limit or max_new_tokens)
        self.device = device or _best_device(torch)
        # The packaged ones are small enough for float32, where few answers depend on the machine.
        settings: dict[str, Any] = {"dtype": torch.float32 if own else "auto"}
        spread = self.device == "cuda" and not own
        if spread:
            settings["device_map"] = "auto"
        config = transformers.AutoConfig.from_pretrained(_base_of(path), **source)
        self.sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        if self.sees:
            kind: Any = transformers.AutoModelForImageTextToText
            self.processor: Any = transformers.AutoProcessor.from_pretrained(path, **source)
            self.tokenizer = self.processor.tokenizer
        else:
            kind = transformers.AutoModelForCausalLM
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(path, **source)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model = kind.from_pretrained(path, **settings | source | model_kwargs).eval()
        if not spread:
            self.model.to(self.device)

    def generate(self, chats: Sequence[Chat], max_new_tokens: int | None = None) -> list[str]:
        """The texts of `complete`."""
        return [each.text for each in self.complete(chats, max_new_tokens)]

    def complete(
        self, chats: Sequence[Chat], max_new_tokens: int | None = None
    ) -> list[Continuation]:
        """What the assistant says next in each chat, in one batch; in two if memory runs out.

        Args:
            max_new_tokens: A lower limit than the checkpoint's own.
        """
        import torch

        limit = min(max_new_tokens or self.max_new_tokens, self.max_new_tokens)
        try:
            return self._complete_once(chats, limit)
        except torch.cuda.OutOfMemoryError:
            if len(chats) == 1:
                raise
            torch.cuda.empty_cache()
            middle = len(chats) // 2
            self.batch_size = middle
            logger.warning("out of GPU memory: batches of %d from now on", middle)
            halves = chats[:middle], chats[middle:]
            return [each for half in halves for each in self.complete(half, limit)]

    def _complete_once(self, chats: Sequence[Chat], limit: int) -> list[Continuation]:
        import torch

        inputs = self._encode(chats)
        with torch.inference_mode():
            output = self.model.generate(**inputs, do_sample=False, max_new_tokens=limit)
        completions = output[:, inputs["input_ids"].shape[1] :].tolist()
        texts = self.tokenizer.batch_decode(completions, skip_special_tokens=True)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            _continuation(text, tokens, length, self._ends())
            for text, tokens, length in zip(texts, completions, lengths, strict=True)
        ]

    def _encode(self, chats: Sequence[Chat]) -> Any:
        shared = {
            "add_generation_prompt": True,
            "tokenize": True,
            "return_dict": True,
            "return_tensors": "pt",
        }
        if self.sees:
            inputs = self.processor.apply_chat_template(
                list(chats), processor_kwargs={"padding": True}, **shared
            )
            return inputs.to(self.model.device, dtype=self.model.dtype)
        inputs = self.tokenizer.apply_chat_template(list(chats), padding=True, **shared)
        return inputs.to(self.model.device)

    def _ends(self) -> set[int]:
        """Token ids that end the model's turn."""
        ends = self.model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}


def _continuation(text: str, tokens: Sequence[int], length: int, ends: set[int]) -> Continuation:
    end = next((place for place, token in enumerate(tokens) if token in ends), None)
    return Continuation(
        text.strip(),
        finished=end is not None,
        input_tokens=int(length),
        output_tokens=len(tokens) if end is None else end + 1,
    )


def _base_of(path: str) -> str:
    """The model whose adapters a folder holds; of any other checkpoint, the checkpoint itself."""
    file = Path(path) / _ADAPTER
    if not file.is_file():
        return path
    remedy = "It must be what save_pretrained of PEFT wrote."
    content = read_json(file, remedy)
    base = content.get("base_model_name_or_path") if isinstance(content, dict) else None
    if not isinstance(base, str):
        raise DataError("names no base_model_name_or_path", remedy, path=file)
    return base


def _best_device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _wanted_batch_size(default: int) -> int:
    text = os.environ.get(BATCH_SIZE_VARIABLE, str(default))
    if not text.isdigit() or int(text) < 1:
        raise SpyBenchError(f"{BATCH_SIZE_VARIABLE} is {text!r}. Set it to a whole number above 0.")
    return int(text)
