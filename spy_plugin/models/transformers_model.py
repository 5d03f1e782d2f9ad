"""Models that transformers runs in this process: batches of conversations, in both hosts too."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.data.pictures import open_rgb
from spy_plugin.errors import MissingDependencyError, SpyBenchError
from spy_plugin.models.base import Conversation, Decoding, Model, ModelSetupError, Reply
from spy_plugin.models.engine_arguments import text_settings
from spy_plugin.models.packaged import PACKAGED, checkpoint_folder
from spy_plugin.models.pictures import load_ahead

if TYPE_CHECKING:
    from concurrent.futures import Future

    from PIL import Image

logger = logging.getLogger(__name__)

Chat = Sequence[Mapping[str, Any]]
"""Turns as chat templates take them; a picture is a part of type ``image``, a PIL image."""

MAX_NEW_TOKENS = 512
"""The protocol's limit."""

BATCH_SIZE = 8
BATCH_SIZE_VARIABLE = "SPY_BENCH_BATCH_SIZE"


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
    """A checkpoint behind its own chat template, loaded.

    Vision-language models load as `AutoModelForImageTextToText`, text models as
    `AutoModelForCausalLM`.

    Args:
        name: Hub id, folder, or a name of `PACKAGED`.
        batch_size: Conversations continued together; by default SPY_BENCH_BATCH_SIZE, else 8, or
            32 for a packaged model.
        max_new_tokens: Limit of an answer; a packaged model may have a lower one.
        device: `cuda`, `mps` or `cpu`; by default the first that is available.
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
        **model_kwargs: Any,
    ) -> None:
        declare_missing_ops()  # transformers imports torchvision wherever it is installed
        import torch
        import transformers

        own = PACKAGED.get(name)
        path = str(checkpoint_folder(name)) if own else name
        self.batch_size = batch_size or _wanted_batch_size(own.batch_size if own else BATCH_SIZE)
        self.max_new_tokens = min(max_new_tokens, own.max_new_tokens) if own else max_new_tokens
        self.device = device or _best_device(torch)
        # The packaged ones are small enough for float32, where few answers depend on the machine.
        settings: dict[str, Any] = {"dtype": torch.float32 if own else "auto"}
        spread = self.device == "cuda" and not own
        if spread:
            settings["device_map"] = "auto"
        config = transformers.AutoConfig.from_pretrained(path)
        self.sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        if self.sees:
            kind: Any = transformers.AutoModelForImageTextToText
            self.processor: Any = transformers.AutoProcessor.from_pretrained(path)
            self.tokenizer = self.processor.tokenizer
        else:
            kind = transformers.AutoModelForCausalLM
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model = kind.from_pretrained(path, **settings | model_kwargs).eval()
        if not spread:
            self.model.to(self.device)

    def generate(self, chats: Sequence[Chat], max_new_tokens: int | None = None) -> list[str]:
        """The texts of `complete`, greedily."""
        return [each.text for each in self.complete(chats, max_new_tokens)]

    def complete(
        self, chats: Sequence[Chat], max_new_tokens: int | None = None, *, temperature: float = 0.0
    ) -> list[Continuation]:
        """What the assistant says next in each chat, in one batch; in two if memory runs out.

        Args:
            max_new_tokens: A lower limit than the checkpoint's own.
            temperature: 0 is greedy.
        """
        import torch

        limit = min(max_new_tokens or self.max_new_tokens, self.max_new_tokens)
        try:
            return self._complete_once(chats, limit, temperature)
        except torch.cuda.OutOfMemoryError:
            if len(chats) == 1:
                raise
            torch.cuda.empty_cache()
            middle = len(chats) // 2
            self.batch_size = middle
            logger.warning("out of GPU memory: batches of %d from now on", middle)
            halves = chats[:middle], chats[middle:]
            return [
                each
                for half in halves
                for each in self.complete(half, limit, temperature=temperature)
            ]

    def _complete_once(
        self, chats: Sequence[Chat], limit: int, temperature: float
    ) -> list[Continuation]:
        import torch

        inputs = self._encode(chats)
        # A model's own top_p and top_k do not apply: sampling is by temperature alone.
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature:
            sampling = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
        with torch.inference_mode():
            output = self.model.generate(**inputs, max_new_tokens=limit, **sampling)
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


class TransformersModel(Model):
    """A checkpoint from a folder or the hub, in batches of conversations in their order.

    Args:
        model: What `Checkpoint` takes.
        arguments: Further arguments of `from_pretrained`, and ``device``.
        batch_size: See `Checkpoint`.

    Raises:
        MissingDependencyError: transformers is not installed.
        ModelSetupError: the decoding asks for what this backend cannot do.
    """

    backend = "transformers"

    def __init__(
        self,
        model: str,
        decoding: Decoding,
        *,
        arguments: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
    ) -> None:
        if importlib.util.find_spec("transformers") is None:
            raise MissingDependencyError("transformers", "train")
        if decoding.max_tokens is None or decoding.structured is not None:
            raise ModelSetupError(
                "backend transformers needs a limit of new tokens and writes free text only. Give "
                "--max-tokens, leave out --structured, or use --backend vllm."
            )
        self.model, self.decoding = model, decoding
        self.settings = text_settings(self.backend, arguments or {})
        self._arguments, self._batch_size = dict(arguments or {}), batch_size

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Loaded when first asked: a run that has nothing to do loads nothing.

        Raises:
            ModelSetupError: transformers cannot load the model.
        """
        limit = self.decoding.max_tokens or MAX_NEW_TOKENS
        try:
            return Checkpoint(
                self.model, batch_size=self._batch_size, max_new_tokens=limit, **self._arguments
            )
        except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
            text = " ".join(str(error).split())[:300]
            raise ModelSetupError(
                f"transformers cannot load {self.model} ({type(error).__name__}: {text}). "
                "Check the model and --engine-args."
            ) from error

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        with closing(load_ahead(conversations, open_rgb)) as loaded:
            first = next(loaded, None)
            if first is None:
                return
            self._seed()
            batch: list[tuple[Conversation, Future[Image.Image] | None]] = [first]
            while batch:
                batch += islice(loaded, self.checkpoint.batch_size - len(batch))
                yield from self._replies(batch)
                batch = list(islice(loaded, 1))

    def close(self) -> None:
        """Free the model's memory."""
        self.__dict__.pop("checkpoint", None)  # as cached, if it was ever loaded

    def _seed(self) -> None:
        if self.decoding.seed is not None:
            import torch

            torch.manual_seed(self.decoding.seed)

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
            found = self.checkpoint.complete(
                list(chats.values()), temperature=self.decoding.temperature
            )
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


def _continuation(text: str, tokens: Sequence[int], length: int, ends: set[int]) -> Continuation:
    end = next((place for place, token in enumerate(tokens) if token in ends), None)
    return Continuation(
        text.strip(),
        finished=end is not None,
        input_tokens=int(length),
        output_tokens=len(tokens) if end is None else end + 1,
    )


def _failed(key: str, error: Exception) -> Reply:
    text = " ".join(str(error).split())[:300]
    return Reply(key, outcome=Outcome.FAILED, error=f"{type(error).__name__}: {text}")


def _best_device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _wanted_batch_size(default: int) -> int:
    text = os.environ.get(BATCH_SIZE_VARIABLE, str(default))
    if not text.isdigit() or int(text) < 1:
        raise SpyBenchError(f"{BATCH_SIZE_VARIABLE} is {text!r}. Set it to a whole number above 0.")
    return int(text)
