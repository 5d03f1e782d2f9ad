"""A frozen vision tower: each picture's features are computed once and kept on disk.

With the tower frozen, its features never change and need not be computed again in every epoch:
`freeze_vision` freezes it, `VisionCache` serves what it gave. A file holds the features of one
picture in the model's dtype, tokens x width: 8.5 MiB for 1,248 tokens of Qwen2-VL-7B in bf16.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers.utils.generic import ModelOutput

from trl_ext.prefix_sharing.digest import tensors_digest
from trl_ext.prefix_sharing.errors import SharingUnsupportedError, TrainerSetupError
from trl_ext.prefix_sharing.inner_model import floating_dtype, unwrapped
from trl_ext.prefix_sharing.plain import vision_inputs

_SERVED = ("pooler_output", "deepstack_features")
_UNUSED = ("last_hidden_state", "hidden_states", "attentions")  # of the tower's own output


def vision_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return all weights outside the language model: tower, projection, `image_newline`, ..."""
    inner: Any = unwrapped(model)
    language = [inner.get_decoder(), inner.get_input_embeddings(), inner.get_output_embeddings()]
    text = {id(p) for module in language if module is not None for p in module.parameters()}
    return [p for p in inner.parameters() if id(p) not in text]


def freeze_vision(model: nn.Module) -> None:
    """Exclude everything outside the language model from training, its adapters included.

    Raises:
        TrainerSetupError: there is nothing else.
    """
    parameters = vision_parameters(model)
    if not parameters:
        raise TrainerSetupError(
            f"freeze_vision: {type(unwrapped(model)).__name__} has no weights outside its language "
            "model. Leave the option out."
        )
    for parameter in parameters:
        parameter.requires_grad_(False)


@dataclass
class _Features(ModelOutput):
    """The output of a family's `get_image_features`, as far as its forward reads it."""

    pooler_output: Any = None
    deepstack_features: Any = None


class VisionCache:
    """Features by picture, on disk, for every epoch and run with the same frozen weights.

    Args:
        directory: Folder of the files, created if missing. A subfolder is named after the weights,
            so that another model or checkpoint never reads them.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self._weights: str | None = None

    @contextmanager
    def serving(self, model: nn.Module, vision: Sequence[dict[str, Tensor]]) -> Iterator[None]:
        """Let the model's `get_image_features` return those of `vision`, in this order, while open.

        Raises:
            SharingUnsupportedError: the tower is not frozen, or a family's features have an unknown
                form.
        """
        if any(each.requires_grad for each in vision_parameters(model)):
            raise SharingUnsupportedError(
                "features are cached for a frozen vision tower only: freeze_vision(model) first"
            )
        owner = _owner(model)
        served = [self._features(model, owner, picture) for picture in vision]
        owner.get_image_features = lambda *_, **__: _Features(
            **{name: _join(name, [each[name] for each in served]) for name in served[0]}
        )
        try:
            yield
        finally:
            del owner.get_image_features  # uncovers that of the class

    def _features(self, model: nn.Module, owner: Any, picture: dict[str, Tensor]) -> dict[str, Any]:
        if self._weights is None:
            weights = vision_parameters(model)
            if any(isinstance(each, DTensor) or not each.numel() for each in weights):
                raise SharingUnsupportedError(
                    "the tower's weights are split over processes (ZeRO-3, FSDP), so that its "
                    "features cannot be cached; leave out vision_cache"
                )
            self._weights = tensors_digest(weights)
        path = self.directory / self._weights / f"{tensors_digest(picture.values())}.pt"
        device, dtype = next(owner.parameters()).device, floating_dtype(model)
        if path.is_file():
            features: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            return features
        inputs = vision_inputs([picture], dtype, device)
        with torch.no_grad():
            output = owner.get_image_features(**inputs, return_dict=True)
        found = {name: value for name, value in output.items() if name not in _UNUSED}
        if "pooler_output" not in found or set(found) - set(_SERVED):
            raise SharingUnsupportedError(f"no cache for picture features {sorted(found)}")
        features = _cloned(found)  # a slice of a larger tensor would be saved with all of it
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            torch.save(features, partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return features


def _owner(model: nn.Module) -> Any:
    """Return the innermost module that defines picture features, whose forward asks for them."""
    owners = [
        module
        for module in unwrapped(model).modules()
        if hasattr(type(module), "get_image_features")
    ]
    if not owners:
        raise SharingUnsupportedError("this model has no vision tower whose features can be kept")
    return owners[-1]


def _join(name: str, values: list[Any]) -> Any:
    """Join pictures: tensors along their first dimension, lists end to end.

    `deepstack_features` (Qwen3-VL) has an entry a layer, each with the tokens of all pictures.
    """
    if isinstance(values[0], Tensor):
        return torch.cat(values)
    if name == "deepstack_features":
        return [_join("a layer", list(layer)) for layer in zip(*values, strict=True)]
    return [each for value in values for each in value]


def _cloned(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: _cloned(each) for name, each in value.items()}
    return [_cloned(each) for each in value]
