"""Full fine-tuning of bfloat16 weights without losing small updates.

AdamW steps of preference training are smaller than half a unit in the last place of most bfloat16
weights, so that rounding to nearest discards them. torchao's 8-bit AdamW rounds stochastically:
the mean of the rounded weights is the exact one. `StochasticRounding`, mixed into a `Trainer`,
makes that fast, and equal on all processes and after a resume.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerCallback

from trl_ext.sharded_update import ShardedUpdate


class StochasticRounding(Trainer):
    """A `Trainer` for `optim="adamw_torch_8bit"` with `optim_args="bf16_stochastic_round=True"`.

    Mix it in before a trainer; with other optimizers it changes nothing.
    """

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Create the optimizer of the training arguments, stepped in few calls."""
        if "bf16_stochastic_round=True" in str(self.args.optim_args) and self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer_cls_and_kwargs = flattened(kind), options
            self.add_callback(SameRounding())
        optimizer = super().create_optimizer(*args, **kwargs)
        if self.accelerator.distributed_type.startswith("MULTI_") and hasattr(optimizer, "shard"):
            optimizer.shard()
        return optimizer

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        optimizer: Any = getattr(self.optimizer, "optimizer", self.optimizer)
        sharded = getattr(optimizer, "sharded", None)
        with sharded.whole_states(optimizer) if sharded else nullcontext():
            super()._save_optimizer_and_scheduler(output_dir)


class SameRounding(TrainerCallback):
    """Seeds the device's random numbers for each optimizer step, and puts them back after it.

    Replicas of a model stay equal only if all processes round alike.
    """

    def __init__(self) -> None:
        self._kept = torch.empty(0)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        generator = _generator(torch.device(args.device))
        self._kept = generator.get_state()
        # A multiplier keeps the numbers of neighbouring steps and seeds apart.
        generator.manual_seed((args.seed * 1_000_003 + state.global_step) % 2**63)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        _generator(torch.device(args.device)).set_state(self._kept)


def _generator(device: torch.device) -> torch.Generator:
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[index]
    return torch.default_generator


@cache
def flattened(kind: type[Any]) -> type[Any]:
    """Return torchao's `AdamW8bit` with the same arithmetic and states in fewer, cheaper calls.

    torchao compiles its update for every shape of a weight, and calls it through tensor
    subclasses. Here weights are rows of blocks, for which one compilation serves all, and small
    weights are updated together. Weights split over processes keep to torchao's own step. After
    `shard`, each of several processes with replicas updates a part of the large weights.

    Args:
        kind: `torchao.optim.AdamW8bit`; any other class is returned as it is.
    """
    if kind.__name__ != "AdamW8bit":
        return kind

    class FlattenedAdamW8bit(kind):  # type: ignore[misc]
        sharded: ShardedUpdate | None = None

        def shard(self) -> None:
            """Share the updates of large weights among the processes, which hold replicas."""
            weights = [each for group in self.param_groups for each in group["params"]]
            if not any(isinstance(each, DTensor) for each in weights):
                self.sharded = ShardedUpdate(filter(self._is_large, weights))

        def _is_large(self, weight: Tensor) -> bool:
            """Whether torchao quantizes the moving averages, and processes can send the weight."""
            return (
                weight.numel() >= 4096
                and weight.numel() % self.block_size == 0
                and weight.is_contiguous()
            )

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            super().load_state_dict(state_dict)
            if self.sharded:
                self.sharded.drop_states_of_others(self)

        def empty_state(self, weight: Tensor, name: str) -> Any:
            """Return torchao's first `exp_avg` or `exp_avg_sq` of a weight."""
            return self._new_buffer(weight, name == "exp_avg")

        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            groups = {each: group for group in self.param_groups for each in group["params"]}
            if any(isinstance(each, DTensor) for each in groups):
                return super().step(closure)
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            factors: dict[Any, Tensor] = {}
            shared = self.sharded.owners if self.sharded else {}
            # What all processes update comes first: only so far their random numbers are equal.
            for group in self.param_groups:
                self._update(group, [w for w in group["params"] if w not in shared], factors)
            if self.sharded:
                self.sharded.step(lambda weight: self._update(groups[weight], [weight], factors))
            return loss

        def _update(
            self, group: dict[str, Any], weights: list[Tensor], factors: dict[Any, Tensor]
        ) -> None:
            small: dict[Any, list[Tensor]] = {}
            for weight in weights:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"] = self.empty_state(weight, "exp_avg")
                    state["exp_avg_sq"] = self.empty_state(weight, "exp_avg_sq")
                if state["step"].is_cuda:  # after a resume; reading it would wait for the GPU
                    state["step"] = state["step"].cpu()
                state["step"] += 1
                key = (id(group), float(state["step"]), weight.device, weight.dtype)
                if key not in factors:
                    factors[key] = _factors(group, key[1], weight.device)
                if hasattr(state["exp_avg"], "codes"):
                    _update_blocks(weight, state, factors[key], self.bf16_stochastic_round)
                else:
                    small.setdefault(key, []).append(weight)
            for key, some in small.items():
                states = [self.state[weight] for weight in some]
                _update_small(some, states, factors[key], self.bf16_stochastic_round)

    return FlattenedAdamW8bit


def _factors(group: dict[str, Any], step: float, device: torch.device) -> Tensor:
    """Return the factors of an update as one tensor: a compiled update must not depend on values.

    The learning rate may be a tensor of the GPU, which is not waited for.
    """
    beta1, beta2 = group["betas"]
    by_rate = [1 / (1 - beta1**step), -group["weight_decay"], 0.0, 0.0, 0.0, 0.0]
    fixed = [0.0, 1.0, 1 - beta1, 1 - beta2, (1 - beta2**step) ** -0.5, group["eps"]]
    both = torch.tensor([by_rate, fixed], dtype=torch.float32)
    both = (both.pin_memory() if device.type == "cuda" else both).to(device, non_blocking=True)
    rate: Any = group["lr"]
    rate = rate.to(device, non_blocking=True) if isinstance(rate, Tensor) else rate
    factors: Tensor = both[0] * rate + both[1]
    return factors


def _adamw(
    weight: Tensor, grad: Tensor, average: Tensor, square: Tensor, factors: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute AdamW in float32: the new weight and the new moving averages."""
    lr, decay, one_minus_beta1, one_minus_beta2, correction, eps = factors.unbind()
    average = average + (grad - average) * one_minus_beta1
    square = square + (grad * grad - square) * one_minus_beta2
    return weight * decay - lr * average / (square.sqrt() * correction + eps), average, square


def _update_blocks(weight: Tensor, state: dict[str, Any], factors: Tensor, rounded: bool) -> None:
    whole = weight.detach().contiguous()
    update = _compiled() if weight.is_cuda else _quantized_update
    average, square = (_quantized(state[name]) for name in ("exp_avg", "exp_avg_sq"))
    weights, grads = (_blocks(each, average.codes.shape[1]) for each in (whole, weight.grad))
    update(weights, grads, average, square, factors, rounded and weight.dtype == torch.bfloat16)
    if not weight.is_contiguous():
        weight.copy_(whole)


def _blocks(tensor: Any, size: int) -> Tensor:
    """Return the memory of `tensor` as `(blocks, size)`; not a view, for which a compiler looks at
    the shape of what it is a view of."""
    tensor = tensor.contiguous()
    shape = (tensor.numel() // size, size)
    blocks: Tensor = tensor.new_empty(0)
    blocks.set_(tensor.untyped_storage(), tensor.storage_offset(), shape, (size, 1))
    return blocks


class CodeTable(NamedTuple):
    """torchao's 8-bit codes of float32 numbers, by the upper 16 bits of a number.

    torchao searches a code in nine reads that wait for each other, which takes most of an update.
    Numbers with equal upper bits have one code or two neighbouring ones, so two reads find it.

    Attributes:
        lowest: The lowest code among the numbers with these upper bits, `(65536,)`.
        limits: By code, the smallest number within -1 to 1 that has a higher one, `(256,)`.
    """

    lowest: Tensor
    limits: Tensor


class Quantized(NamedTuple):
    """A moving average as torchao keeps it.

    Attributes:
        codes: `(blocks, block size)`, 8-bit.
        scale: The largest size in each block, `(blocks,)`.
        qmap: What each code stands for, `(256,)`.
        table: The way back, for numbers divided by `scale`.
    """

    codes: Tensor
    scale: Tensor
    qmap: Tensor
    table: CodeTable


def _quantized(state: Any) -> Quantized:
    codes = _blocks(state.codes, state.block_size)
    return Quantized(codes, state.scale, state.qmap, code_table(state.signed, codes.device))


@cache
def code_table(signed: bool, device: torch.device) -> CodeTable:
    """Tabulate torchao's codes of signed or of unsigned states."""
    from torchao.optim.quant_utils import create_dynamic_map, quantize_8bit_with_qmap

    qmap = torch.tensor(create_dynamic_map(signed))
    upper = torch.arange(-(2**15), 2**15, dtype=torch.int32) << 16
    smallest = torch.where(upper < 0, upper | 0xFFFF, upper).view(torch.float32)
    # Bisection over integers in the order of the numbers: bits of negative ones run backwards.
    one = int(torch.ones(1).view(torch.int32))
    below, above = (torch.full((255,), place, dtype=torch.int32) for place in (~one, one))
    while (above - below > 1).any():
        place = below + (above - below) // 2
        number = torch.where(place < 0, place ^ 0x7FFFFFFF, place).view(torch.float32)
        higher = quantize_8bit_with_qmap(number, qmap) > torch.arange(255)
        below, above = torch.where(higher, below, place), torch.where(higher, place, above)
    limits = torch.where(above < 0, above ^ 0x7FFFFFFF, above).view(torch.float32)
    never = torch.tensor([float("inf")])
    return CodeTable(
        quantize_8bit_with_qmap(smallest, qmap).to(device), torch.cat((limits, never)).to(device)
    )


def nearest_codes(numbers: Tensor, table: CodeTable) -> Tensor:
    """Return what torchao's `quantize_8bit_with_qmap` does for float32 numbers within -1 to 1."""
    codes = table.lowest[(numbers.view(torch.int32) >> 16) + 2**15]
    return codes + (numbers >= table.limits[codes.int()]).to(torch.uint8)


@cache
def _compiled() -> Any:
    return torch.compile(_quantized_update, dynamic=True, fullgraph=True)


def _quantized_update(
    weight: Tensor,
    grad: Tensor,
    average: Quantized,
    square: Quantized,
    factors: Tensor,
    rounded: bool,
) -> None:
    """Update a weight of shape `(blocks, block size)` and its quantized moving averages."""
    from torchao.optim.quant_utils import _fp32_to_bf16_sr, dequant_with_qmap, scale_tensor

    states = average, square
    old = [dequant_with_qmap(each.codes, each.qmap, each.scale) for each in states]
    new, *updated = _adamw(weight.float(), grad.float(), old[0], old[1], factors)
    for state, value in zip(states, updated, strict=True):
        scaled, scale = scale_tensor(value, state.codes.shape[1])
        state.codes.copy_(nearest_codes(scaled, state.table))
        state.scale.copy_(scale)
    weight.copy_(_fp32_to_bf16_sr(new) if rounded else new)


def _update_small(
    weights: list[Tensor], states: list[dict[str, Any]], factors: Tensor, rounded: bool
) -> None:
    """Update weights that are too small to be quantized, end to end as one tensor."""
    from torchao.optim.quant_utils import _fp32_to_bf16_sr

    flat = [each.detach().view(-1) for each in weights]
    averages = [state["exp_avg"].view(-1) for state in states]
    squares = [state["exp_avg_sq"].view(-1) for state in states]
    grads = [each.grad.reshape(-1) for each in weights]  # type: ignore[union-attr]
    weight, grad, average, square = (
        torch.cat(each).float() for each in (flat, grads, averages, squares)
    )
    updated = _adamw(weight, grad, average, square, factors)
    sizes = [len(each) for each in flat]
    for targets, value in zip((flat, averages, squares), updated, strict=True):
        new = _fp32_to_bf16_sr(value) if rounded and flat[0].dtype == torch.bfloat16 else value
        torch._foreach_copy_(targets, list(new.split(sizes)))
