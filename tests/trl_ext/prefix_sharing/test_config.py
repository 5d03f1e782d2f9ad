"""The defaults of the paper, and options that do not apply to NCA-P."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from spy_plugin.errors import SpyBenchError  # noqa: E402
from trl_ext import NCAPrivConfig  # noqa: E402


def config(tmp_path, **options):
    return NCAPrivConfig(str(tmp_path), report_to="none", bf16=False, **options)


def test_defaults_are_those_of_the_paper(tmp_path):
    args = config(tmp_path)
    assert (args.beta, args.learning_rate, args.weight_decay) == (0.01, 3e-6, 0.05)
    assert args.lr_scheduler_type == "cosine"
    assert args.get_warmup_steps(1000) == 100
    assert args.num_train_epochs == 3
    assert args.max_length is None
    assert (args.prefix_sharing, args.extra_end_token) == ("auto", False)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("loss_type", ["nca_pair"], "DPOTrainer for the others"),
        ("loss_type", "sigmoid", "DPOTrainer for the others"),
        ("loss_weights", [1.0], "one loss"),
        ("label_smoothing", 0.1, "flipped"),
        ("f_divergence_type", "js_divergence", "divergence"),
        ("f_alpha_divergence_coef", 0.7, "f_divergence_type"),
        ("discopop_tau", 0.1, "DiscoPOP"),
        ("ld_alpha", 0.5, "whole completions"),
        ("use_weighting", True, "WPO"),
        ("padding_free", True, "collator"),
        ("pad_to_multiple_of", 64, "collator"),
        ("truncation_mode", "keep_end", "pictures"),
        ("router_aux_loss_coef", 0.1, "router"),
        ("beta", 0.0, "greater than 0"),
        ("max_batch_tokens", 4096, "grouped by picture"),
        ("vision_cache", "folder", "freeze_vision=True"),
        ("prefix_sharing", "tree", "auto, off, row, image"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_options_without_meaning_are_refused_with_the_reason(tmp_path, option, value, reason):
    with pytest.raises(SpyBenchError, match=reason) as refused:
        config(tmp_path, **{option: value})
    assert option in str(refused.value)
    assert isinstance(refused.value, ValueError)  # like TRL's own errors


def test_every_option_has_help():
    ours = {**NCAPrivConfig.__annotations__, **NCAPrivConfig.__base__.__annotations__}
    for field in dataclasses.fields(NCAPrivConfig):
        if field.name in ours:
            assert len(field.metadata["help"]) > 15, field.name


def test_options_parse_from_a_command_line(tmp_path):
    from trl import TrlParser

    line = [
        "--output_dir",
        str(tmp_path),
        "--bf16",
        "false",
        "--prefix_sharing",
        "row",
        "--max_length",
        "512",
        "--extra_end_token",
    ]
    (args,) = TrlParser(NCAPrivConfig).parse_args_and_config(line)
    assert (args.prefix_sharing, args.max_length, args.extra_end_token) == ("row", 512, True)
    assert (args.loss_type, args.beta, args.warmup_steps) == (["nca_priv"], 0.01, 0.1)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_liger_kernels_need_a_trl_that_keeps_its_own_loss_out(tmp_path, monkeypatch):
    monkeypatch.setattr("trl_ext.prefix_sharing.config.version", lambda package: "1.15.0")
    assert config(tmp_path, use_liger_kernel=True).use_liger_kernel
    monkeypatch.setattr("trl_ext.prefix_sharing.config.version", lambda package: "1.14.2")
    with pytest.raises(SpyBenchError, match=r"trl>=1\.15"):
        config(tmp_path, use_liger_kernel=True)


def test_keeping_activations_needs_gradient_checkpointing(tmp_path):
    with pytest.raises(SpyBenchError, match="which is off"):
        config(tmp_path, keep_activations=2, gradient_checkpointing=False)


def test_bf16_is_off_where_there_is_no_gpu_unless_asked_for(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    args = NCAPrivConfig(str(tmp_path))
    assert args.bf16 is False
    assert args.use_cpu is True  # or several processes would train apart
    assert "no GPU was found" in caplog.text
    caplog.clear()
    assert NCAPrivConfig(str(tmp_path), use_cpu=True).bf16 is True  # TRL's default
    assert not caplog.text


@pytest.mark.skipif(torch.accelerator.is_available(), reason="a GPU computes in bfloat16")
def test_bf16_that_is_asked_for_is_refused_without_a_gpu(tmp_path):
    with pytest.raises(SpyBenchError, match="use_cpu"):
        NCAPrivConfig(str(tmp_path), bf16=True)


@pytest.mark.parametrize("name", ["max_batch_tokens", "rows_per_step"])
def test_sizes_of_batches_are_at_least_one(tmp_path, name):
    for value in (0, -1):
        with pytest.raises(ValueError, match=f"{name}={value} must be at least 1"):
            config(tmp_path, prefix_sharing="image", **{name: value})
