"""Settings that follow from the machine: what fits the GPU found, and what a CPU cannot do.

Only options that neither a settings file nor the command line names are chosen here, and the log
says what was. The numbers are estimates, stated in `docs/training.md`.
"""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from spy_plugin.errors import SpyBenchError

logger = logging.getLogger(__name__)

USABLE = 0.92
"""Share of a GPU's memory that may be planned for."""
RESERVE = 1.5 * 2**30
"""Bytes for kernels' workspaces, logits and the CUDA context."""
STEP_FLOPS = 150e12
"""Floating-point operations of a batch that keep a GPU busy; more only take memory."""
FEWEST_TOKENS = 2_500
"""Batch that must fit without gradient checkpointing: a large picture and some of its rows."""
SMALLEST_TOKENS = 2_048
"""Smallest `max_batch_tokens`: a row with a picture of 1,003,520 pixels takes up to 1,600."""
CPU_TOKENS = 4_096
"""`max_batch_tokens` where there is no GPU."""

STOCHASTIC = "bf16_stochastic_round=True"
"""`optim_args` with which torchao's optimizer does not lose small updates."""
ROUNDING = ("bfloat16", "float16")
ROUNDED_AWAY = (
    "full fine-tuning of %s weights by this optimizer rounds small updates away. Use --dtype "
    "float32 (training still computes in bfloat16), or leave --optim and --dtype out."
)
ALWAYS_TRAINED = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
"""Families (`model_type`) all of whose weights get a gradient from every batch with a picture."""

CHOSEN = (
    *("bf16", "dtype", "optim", "optim_args", "gradient_checkpointing", "max_batch_tokens"),
    *("dataloader_num_workers", "dataloader_pin_memory", "ddp_find_unused_parameters"),
)
"""Options that `choose` fills in."""


@dataclass(frozen=True)
class Machine:
    """The hardware and the launcher of a training process.

    Attributes:
        kind: Device type: `"cuda"`, `"cpu"`, `"mps"`, ...
        memory: Bytes of its CUDA GPU, None without one.
        bf16: Whether the GPU computes in bfloat16.
        cores: CPU cores for each process of the machine.
        processes: Processes of the run.
        sharding: `"zero1"`, `"zero2"`, `"zero3"`, `"fsdp"`, or `""` for none.
    """

    kind: str
    memory: int | None
    bf16: bool
    cores: int
    processes: int
    sharding: str


@dataclass(frozen=True)
class Network:
    """Sizes of a model.

    Attributes:
        parameters: Number of weights.
        text_parameters: Those of the text layers.
        token_width: Inputs and outputs of the text model's linear layers, per token.
        hidden_width: Hidden size times the number of text layers.
        family: `model_type` of its configuration.
    """

    parameters: int
    text_parameters: int
    token_width: int
    hidden_width: int
    family: str


def this_machine(asked: Namespace) -> Machine:
    """Describe the machine of this process, by the options and the launcher's environment."""
    import torch

    gpu = torch.cuda.is_available() and not asked.use_cpu
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    sharding = ""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        sharding = f"zero{os.environ.get('ACCELERATE_DEEPSPEED_ZERO_STAGE', '2')}"
    elif asked.deepspeed:
        sharding = "zero2"  # its file may say otherwise; the estimate is then too high or too low
    elif asked.fsdp or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        sharding = "fsdp"
    accelerator = None if asked.use_cpu else torch.accelerator.current_accelerator(True)
    return Machine(
        kind="cpu" if accelerator is None else accelerator.type,
        memory=torch.cuda.get_device_properties(local).total_memory if gpu else None,
        bf16=gpu and torch.cuda.is_bf16_supported(including_emulation=False),
        cores=max(1, len(os.sched_getaffinity(0)) // on_machine),
        processes=int(os.environ.get("WORLD_SIZE", "1")),
        sharding=sharding,
    )


@cache
def network(name: str, revision: str | None, trust_remote_code: bool) -> Network:
    """Return the sizes of a model, from its configuration; no weights are loaded."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(
        name, revision=revision, trust_remote_code=trust_remote_code
    )
    with torch.device("meta"):
        model: Any = AutoModelForImageTextToText.from_config(
            config, trust_remote_code=trust_remote_code
        )
    text = model.get_decoder()
    linear = [each for each in text.modules() if isinstance(each, torch.nn.Linear)]
    text_config = config.get_text_config()
    return Network(
        parameters=sum(each.numel() for each in model.parameters()),
        text_parameters=sum(each.weight.numel() for each in linear),
        token_width=sum(each.in_features + each.out_features for each in linear),
        hidden_width=text_config.hidden_size * text_config.num_hidden_layers,
        family=config.model_type,
    )


def choose(asked: Namespace, machine: Machine) -> dict[str, Any]:
    """Return values for the options of `CHOSEN` that `asked` leaves None.

    Raises:
        SpyBenchError: full fine-tuning in float32 does not fit, and the optimizer that would fit
            is not installed.
    """
    if machine.memory is None:
        chosen = _without_cuda(asked, machine)
    else:
        chosen = _for_gpu(asked, machine, machine.memory)
    known = vars(asked)
    return {name: value for name, value in chosen.items() if name in known and known[name] is None}


def _without_cuda(asked: Namespace, machine: Machine) -> dict[str, Any]:
    if machine.kind == "cpu" and not asked.use_cpu:
        logger.warning("no GPU was found: training runs in float32 on the CPU (bf16 is off)")
    if machine.kind == "cpu" and machine.sharding == "fsdp":
        logger.warning("accelerate has no FSDP without GPUs: each process holds the whole model")
    dtype = asked.dtype or ("bfloat16" if asked.use_peft else "float32")
    stochastic = asked.optim == "adamw_torch_8bit"
    if dtype in ROUNDING and not (asked.use_peft or stochastic):
        logger.warning(ROUNDED_AWAY, dtype)
    return {
        "bf16": False if machine.kind == "cpu" else None,
        "dtype": dtype,
        "optim": "adamw_torch_fused",
        "optim_args": STOCHASTIC if stochastic else None,
        "gradient_checkpointing": True,
        "max_batch_tokens": CPU_TOKENS if _groups(asked) else None,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
    }


def _for_gpu(asked: Namespace, machine: Machine, memory: int) -> dict[str, Any]:
    net = network(asked.model_name_or_path, asked.model_revision, bool(asked.trust_remote_code))
    dtype, optim = _weights_and_optimizer(asked, machine, net, memory)
    states = net.parameters * bytes_per_parameter(asked, machine, dtype)
    if states > memory:
        raise SpyBenchError(_too_large(asked, states, memory))
    checkpointing, tokens = _batch(asked, net, USABLE * memory - RESERVE - states)
    workers = asked.dataloader_num_workers
    if workers is None:
        workers = max(1, min(8, machine.cores - 1))
    chosen: dict[str, Any] = {
        "bf16": machine.bf16 and not asked.fp16,
        "dtype": dtype,
        "optim": optim,
        "optim_args": STOCHASTIC if optim == "adamw_torch_8bit" else None,
        "gradient_checkpointing": checkpointing,
        "max_batch_tokens": tokens if _groups(asked) else None,
        "dataloader_num_workers": workers,
        "dataloader_pin_memory": True,
        "ddp_find_unused_parameters": False if net.family in ALWAYS_TRAINED else None,
    }
    logger.info(
        "chosen for a GPU of %.0f GiB: %s",
        memory / 2**30,
        ", ".join(f"{name} {value}" for name, value in chosen.items() if value is not None),
    )
    return chosen


def _batch(asked: Namespace, net: Network, free: float) -> tuple[bool, int]:
    """Choose whether to recompute activations, and the tokens of a device's batch.

    Args:
        asked: Its `gradient_checkpointing` decides, if it is set.
        net: The model.
        free: Bytes for activations.
    """
    # Without recomputation, a token keeps what its linear layers take and give in bfloat16, and
    # 1.5 times that for norms, rotary positions and the picture encoder (12 MB in all for
    # Qwen2-VL-7B, where every other token is a picture's); with it, the layers' inputs.
    kept, recomputed = 5 * net.token_width, 8 * net.hidden_width
    enough = max(FEWEST_TOKENS, STEP_FLOPS / (6 * net.text_parameters))
    checkpointing: bool = asked.gradient_checkpointing
    if checkpointing is None:
        checkpointing = free / kept < FEWEST_TOKENS
    fitting = free / (recomputed if checkpointing else kept)
    return checkpointing, int(max(SMALLEST_TOKENS, min(fitting, enough)))


def _groups(asked: Namespace) -> bool:
    return getattr(asked, "prefix_sharing", None) == "image"


def _weights_and_optimizer(
    asked: Namespace, machine: Machine, net: Network, memory: int
) -> tuple[str, str]:
    """Choose the dtype of the weights, and an optimizer that does not lose small updates.

    AdamW on bfloat16 weights rounds small updates away. DeepSpeed and FSDP keep float32 copies,
    and adapters are float32. Otherwise the weights are float32 where that fits, or they are
    bfloat16 and torchao's optimizer rounds them stochastically.
    """
    usual = "adamw_torch_fused"
    if machine.sharding or asked.use_peft:
        return asked.dtype or "bfloat16", asked.optim or usual
    if asked.dtype == "float32" or asked.optim not in (None, "adamw_torch_8bit"):
        if asked.dtype in ROUNDING:
            logger.warning(ROUNDED_AWAY, asked.dtype)
        return asked.dtype or "float32", asked.optim or usual
    if find_spec("torchao") is not None and machine.bf16:
        return asked.dtype or "bfloat16", "adamw_torch_8bit"
    needed = net.parameters * bytes_per_parameter(asked, machine, "float32")
    if asked.dtype is None and needed + RESERVE < USABLE * memory:
        return "float32", usual
    raise SpyBenchError(_too_large(asked, needed, memory))


def _too_large(asked: Namespace, needed: float, memory: int) -> str:
    torchao = "" if find_spec("torchao") else "Install torchao (bfloat16 weights, 8-bit states), "
    return (
        f"weights, gradients and optimizer states of {asked.model_name_or_path} take "
        f"{needed / 2**30:.0f} GiB, and this GPU has {memory / 2**30:.0f}. "
        f"{torchao or 'Use '}adapters (--config lora_24gb) or several GPUs (--accelerate zero2 or "
        "zero3)."
    )


def bytes_per_parameter(asked: Namespace, machine: Machine, dtype: str) -> float:
    """Estimate weights, gradients and optimizer states, in bytes per weight of the model."""
    weights = 4.0 if dtype == "float32" else 2.0
    if asked.load_in_4bit:
        weights = 0.7
    elif asked.load_in_8bit:
        weights = 1.1
    if asked.use_peft:
        return weights + 0.3  # of a hundredth of the weights: gradients, float32 AdamW
    split = machine.processes
    if machine.sharding:
        # FSDP2 keeps gradients whole, in bfloat16, until the last batch of a step; then they are
        # float32 and sharded. ZeRO-3 shards those of every batch.
        by_kind = {
            "zero1": 8 + 12 / split,
            "zero2": 4 + 14 / split,
            "fsdp": 12 / split + max(2, 4 / split),
        }
        return by_kind.get(machine.sharding, 18 / split)
    # DistributedDataParallel's buckets are the gradients, but the memory in pieces beside them was
    # measured at 12 GiB for 15 GiB of weights.
    buckets = weights if machine.processes > 1 else 0.0
    states = 8.0 if dtype == "float32" else 2.1
    return 2 * weights + buckets + states + (2.0 if dtype == "float32" else 0.0)
