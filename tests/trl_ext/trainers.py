"""Settings of tiny training runs, and what is asked of them."""

from __future__ import annotations

import torch

from trl_ext import NCAPrivConfig


def config(folder, kind=NCAPrivConfig, **options):
    defaults = {
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 3,
        "max_steps": 2,
        "warmup_steps": 0,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": False,
        "disable_tqdm": True,
        "seed": 3,
    }
    return kind(str(folder), **{**defaults, **options})


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def changed(model, before):
    return {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
