"""Checkpoints as both hosts run them for us: batches of conversations, continued greedily."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import SpyBenchError
from spy_plugin.models import shipped as lab
from spy_plugin.models import tiny_random as tiny

logger = logging.getLogger(__name__)

Conversation = Sequence[Mapping[str, Any]]
"""Turns as chat templates take them; a picture is a part of type ``image``, a PIL image."""

MAX_NEW_TOKENS = 512  # the paper's limit
BATCH_SIZE = 8
BATCH_SIZE_VARIABLE = "SPY_BENCH_BATCH_SIZE"


@dataclass(frozen=True)
class OwnModel:
    """A tiny model that comes with the package.

    Attributes:
        folder: Gives its checkpoint.
        max_new_tokens: Limit of an answer; it was trained on shorter ones, or not at all.
        batch_size: Conversations that even a laptop continues together.
    """

    folder: Callable[[], Path]
    max_new_tokens: int
    batch_size: int = 32


OWN_MODELS: Mapping[str, OwnModel] = {
    tiny.NAME: OwnModel(tiny.build, tiny.MAX_NEW_TOKENS),
    **{name: OwnModel(partial(lab.folder, name), lab.MAX_NEW_TOKENS) for name in lab.NAMES},
}
"""By the name that both hosts know."""


class Checkpoint:
    """An `AutoModelForImageTextToText` checkpoint behind its own chat template.

    Args:
        name: Hub id, folder, or a name of `OWN_MODELS`.
        batch_size: Conversations continued together; by default SPY_BENCH_BATCH_SIZE, else 8, or
            32 for a model of ours.
        max_new_tokens: Limit of an answer; a model of ours may have a lower one.
        device: `cuda`, `mps` or `cpu`; the first that is there by default.

    Raises:
        SpyBenchError: the weights of a model of ours are not there, or the variable is no number.
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
        from transformers import AutoModelForImageTextToText, AutoProcessor

        own = OWN_MODELS.get(name)
        path = str(own_folder(name)) if own else name
        self.batch_size = batch_size or _wanted_batch_size(own.batch_size if own else BATCH_SIZE)
        self.max_new_tokens = min(max_new_tokens, own.max_new_tokens) if own else max_new_tokens
        self.device = device or _best_device(torch)
        # Ours are small enough for float32, in which few answers depend on the machine.
        settings: dict[str, Any] = {"dtype": torch.float32 if own else "auto"}
        spread = self.device == "cuda" and not own
        if spread:
            settings["device_map"] = "auto"
        self.model = AutoModelForImageTextToText.from_pretrained(
            path, **settings | model_kwargs
        ).eval()
        if not spread:
            self.model.to(self.device)
        self.processor = AutoProcessor.from_pretrained(path)
        self.processor.tokenizer.padding_side = "left"

    def generate(
        self, conversations: Sequence[Conversation], max_new_tokens: int | None = None
    ) -> list[str]:
        """What the assistant says next in each, in one batch; in two if memory runs out.

        Args:
            max_new_tokens: A lower limit than the checkpoint's own.
        """
        import torch

        limit = min(max_new_tokens or self.max_new_tokens, self.max_new_tokens)
        try:
            return self._generate_once(conversations, limit)
        except torch.cuda.OutOfMemoryError:
            if len(conversations) == 1:
                raise
            torch.cuda.empty_cache()
            middle = len(conversations) // 2
            self.batch_size = middle
            logger.warning("out of GPU memory: batches of %d from now on", middle)
            halves = conversations[:middle], conversations[middle:]
            return [text for half in halves for text in self.generate(half, limit)]

    def _generate_once(self, conversations: Sequence[Conversation], limit: int) -> list[str]:
        import torch

        inputs = self.processor.apply_chat_template(
            list(conversations),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self.model.device, dtype=self.model.dtype)
        with torch.inference_mode():
            output = self.model.generate(**inputs, do_sample=False, max_new_tokens=limit)
        completions = output[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self.processor.batch_decode(completions, skip_special_tokens=True)
        return [text.strip() for text in texts]


def own_folder(name: str) -> Path:
    """Folder of a model of ours.

    Raises:
        SpyBenchError: its weights are not there.
    """
    folder = OWN_MODELS[name].folder()
    if not (folder / "config.json").is_file():
        raise SpyBenchError(
            f"the weights of {name} are not in {folder}. Install the package anew: "
            "pip install --force-reinstall --no-deps spy-bench"
        )
    return folder


def _best_device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _wanted_batch_size(default: int) -> int:
    text = os.environ.get(BATCH_SIZE_VARIABLE, str(default))
    if not text.isdigit() or int(text) < 1:
        raise SpyBenchError(f"{BATCH_SIZE_VARIABLE} is {text!r}. Set it to a whole number above 0.")
    return int(text)
