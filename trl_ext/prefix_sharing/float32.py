"""Runs a model in float32, whatever its weights, without autocast and TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trl_ext.prefix_sharing.inner_model import floating_dtype, is_flash


@contextmanager
def in_float32(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Let `model` compute in float32 on `device`; a float64 model stays in float64.

    Weights are converted one module at a time, as its forward runs, so that a model in bfloat16
    (on a CPU before FSDP or DeepSpeed place it, in parts under ZeRO-3) needs no second copy. Its
    weights are left as they are. For use without gradient.
    """
    dtype = torch.float64 if floating_dtype(model) == torch.float64 else torch.float32
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(_without_tf32())
        # Other kernels for attention may round to TF32 whatever the settings say.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(_without_flash_attention(model))
        for module in model.modules():
            if _differs(module, dtype, device):
                converted = _Converted(module, dtype, device)
                enter = module.register_forward_pre_hook(
                    converted.enter, prepend=True, with_kwargs=True
                )
                leave = module.register_forward_hook(converted.leave, always_call=True)
                stack.callback(enter.remove)
                stack.callback(leave.remove)
        yield


@contextmanager
def _without_flash_attention(model: nn.Module) -> Iterator[None]:
    """Let all parts of a model attend by `scaled_dot_product_attention`; flash-attention's kernels
    take no float32."""
    # Setting it in a model's configuration sets it in those of its parts: those come afterwards.
    found: dict[int, Any] = {
        id(each): each for each in (getattr(m, "config", None) for m in model.modules())
    }
    configs = [each for each in found.values() if hasattr(each, "_attn_implementation")]
    kept = [(each, each._attn_implementation) for each in configs]
    if not any(is_flash(implementation) for _, implementation in kept):
        kept = []
    for config, implementation in kept:
        config._attn_implementation = "sdpa" if is_flash(implementation) else implementation
    try:
        yield
    finally:
        for config, implementation in kept:
            config._attn_implementation = implementation


class _Converted:
    """One module whose own tensors are converted while its forward runs."""

    def __init__(self, module: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
        self.module, self.dtype, self.device = module, dtype, device
        self.kept: list[dict[str, Any]] = []

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        kept: dict[str, Any] = dict(_own_tensors(module))
        self.kept.append(kept)
        parameters = [each for each in kept.values() if isinstance(each, nn.Parameter)]
        with _gathered(parameters):
            for name, tensor in kept.items():
                converted = self._convert(tensor.detach())
                is_parameter = isinstance(tensor, nn.Parameter)
                setattr(module, name, nn.Parameter(converted, False) if is_parameter else converted)
        return _map(self._convert, args), _map(self._convert, kwargs)

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        for name, tensor in self.kept.pop().items() if self.kept else ():
            setattr(module, name, tensor)

    def _convert(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def _differs(module: nn.Module, dtype: torch.dtype, device: torch.device) -> bool:
    # Quantised weights stay as they are: their modules know how to compute with them.
    return any(
        hasattr(each, "ds_id")
        or each.device != device
        or (each.is_floating_point() and each.dtype != dtype)
        for _, each in _own_tensors(module)
    )


def _gathered(parameters: list[nn.Parameter]) -> Any:
    """Gather whole weights where ZeRO-3 keeps parts of them on each process."""
    if not any(hasattr(each, "ds_id") for each in parameters):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(parameters)


def _map(change: Any, value: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _map(change, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_map(change, item) for item in value)
    return value


@contextmanager
def _without_tf32() -> Iterator[None]:
    settings: list[tuple[Any, str, Any]] = [(torch.backends.cuda.matmul, "allow_tf32", False)]
    settings += [(torch.backends.cudnn, "allow_tf32", False)]
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # since torch 2.9
        settings = [(torch.backends.cuda.matmul, "fp32_precision", "ieee")]
        settings += [(cast(Any, torch.backends.cudnn).conv, "fp32_precision", "ieee")]
    kept = [getattr(owner, name) for owner, name, _ in settings]
    for owner, name, exact in settings:
        setattr(owner, name, exact)
    try:
        yield
    finally:
        for (owner, name, _), value in zip(settings, kept, strict=True):
            setattr(owner, name, value)
