"""Which package an option of the training scripts needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from spy_plugin.errors import SpyBenchError


def check_packages(training: Any, model: Any) -> None:
    """Refuse options whose package is not installed, before a model is loaded.

    Raises:
        SpyBenchError: names the option, the package and how to get it.
    """
    trackers = (
        [training.report_to] if isinstance(training.report_to, str) else training.report_to or []
    )
    attention = model.attn_implementation or ""
    _check_attention(attention)
    needs = [
        # (asked for, option, packages of which one must be there, how to get it)
        *(
            (name in trackers, f"--report_to {name}", (name,), f"pip install {name}")
            for name in ("tensorboard", "wandb", "trackio")
        ),
        (
            attention == "flash_attention_2",
            "--attn_implementation flash_attention_2",
            ("flash_attn", "kernels"),
            "pip install 'spy-bench[flash-attn]' --no-build-isolation",
        ),
        (
            attention == "flash_attention_3",
            "--attn_implementation flash_attention_3",
            ("flash_attn_interface", "kernels"),
            "pip install kernels",
        ),
        (
            attention == "flash_attention_4",
            "--attn_implementation flash_attention_4",
            ("flash_attn", "kernels"),
            "pip install flash-attn-4",
        ),
        (
            training.use_liger_kernel,
            "--use_liger_kernel",
            ("liger_kernel",),
            "pip install 'spy-bench[liger]'",
        ),
        (
            model.load_in_4bit or model.load_in_8bit,
            "--load_in_4bit and --load_in_8bit",
            ("bitsandbytes",),
            "pip install bitsandbytes",
        ),
        (model.use_peft, "--use_peft", ("peft",), "pip install 'spy-bench[train]'"),
    ]
    for wanted, option, packages, remedy in needs:
        if wanted and not any(find_spec(package) for package in packages):
            raise SpyBenchError(
                f"{option} needs {packages[0]}, which is not installed. "
                f"Install it ({remedy}), or leave the option out."
            )
    if training.use_liger_kernel and training.device.type == "cpu":
        raise SpyBenchError(
            "--use_liger_kernel needs a GPU: its kernels are Triton code. Leave the option out."
        )


def _check_attention(name: str) -> None:
    """Refuse a name of an attention that transformers knows nothing of.

    Names with a slash are kernels on the Hub.
    """
    from transformers import AttentionInterface

    known = {"", "eager", *AttentionInterface().valid_keys()}
    if "/" not in name and name not in known:
        usual = ", ".join(sorted(each for each in known if each and "|" not in each))
        raise SpyBenchError(
            f"--attn_implementation {name} is unknown. Choose one of {usual}, or a kernel of the "
            "Hub by its name."
        )
