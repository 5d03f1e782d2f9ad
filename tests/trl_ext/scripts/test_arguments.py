"""Settings: those of the paper by default, layered files, and errors that name the file."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import DataError, SpyBenchError

declare_missing_ops()

from trl import SFTConfig  # noqa: E402

from trl_ext import NCAPrivConfig, PrefixDPOConfig, configs  # noqa: E402
from trl_ext.scripts import _packages, cli  # noqa: E402
from trl_ext.scripts._arguments import accumulation, parse  # noqa: E402

CONFIGS: dict[str, Any] = {
    "sft": SFTConfig,
    "dpo": PrefixDPOConfig,
    "nca": PrefixDPOConfig,
    "nca_priv": NCAPrivConfig,
}
PAPER = {"sft": (6e-6, None), "dpo": (1e-6, 0.5), "nca": (3e-6, 0.01), "nca_priv": (3e-6, 0.01)}
BASE = ("--model_name_or_path", "m", "--bf16", "false", "--use_cpu", "true")


@pytest.mark.parametrize("method", CONFIGS)
def test_the_paper_settings_are_the_defaults(method: str) -> None:
    spy, training, _ = parse(method, CONFIGS[method], [*BASE])
    assert (training.learning_rate, getattr(training, "beta", None)) == PAPER[method]
    assert training.lr_scheduler_type == "cosine"
    assert (training.num_train_epochs, training.weight_decay) == (3, 0.05)
    assert training.warmup_steps == 0.1
    if method == "sft":
        rows = training.per_device_train_batch_size * training.gradient_accumulation_steps
        assert rows * training.world_size == 32
    else:  # rows of one picture share a batch, so the trainer counts rows itself
        assert (training.prefix_sharing, training.rows_per_step) == ("image", 32)
        assert training.max_batch_tokens == 4_096  # without a GPU
        assert training.precompute_ref_log_probs
    assert training.max_length is None
    assert (spy.min_pixels, spy.max_pixels, spy.distractors) == (200704, 1003520, True)
    if method == "nca":
        assert training.loss_type == ["nca_pair"]


@pytest.mark.parametrize("method", CONFIGS)
def test_processes_without_a_gpu_train_together(method: str, monkeypatch: Any) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_: None)
    words = ["--model_name_or_path", "m", "--report_to", "none", "--bf16", "true"]
    _, training, _ = parse(method, CONFIGS[method], words)
    assert training.use_cpu
    assert not training.bf16


@pytest.mark.parametrize(("bf16", "precision"), [("false", "no"), ("true", "bf16")])
def test_the_launchers_precision_gives_way_to_the_option(
    bf16: str, precision: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # as every ready file says
    _, training, _ = parse("nca_priv", NCAPrivConfig, [*BASE, "--bf16", bf16])
    assert training.mixed_precision == precision


def test_checkpoints_in_parts_are_not_of_the_model_only(monkeypatch: Any) -> None:
    words = [*BASE, "--save_only_model", "true"]
    parse("nca_priv", NCAPrivConfig, words)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_STATE_DICT_TYPE", "SHARDED_STATE_DICT")
    with pytest.raises(SpyBenchError, match=r"--save_only_model does not work.*--save_strategy no"):
        parse("nca_priv", NCAPrivConfig, words)


def test_files_are_layered_and_the_command_line_wins(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SPY_TEST_SETTING", "")
    own = tmp_path / "own.yaml"
    own.write_text("learning_rate: 0.5\nmax_rows: 3\nenv: {SPY_TEST_SETTING: 7}\n")
    words = [*BASE, "--config", "lora_24gb", f"--config={own}", "--max_rows", "4"]
    spy, training, model = parse("nca_priv", NCAPrivConfig, words)
    assert training.learning_rate == 0.5
    assert training.beta == 0.01
    assert spy.max_rows == 4
    assert model.use_peft
    assert os.environ["SPY_TEST_SETTING"] == "7"


@pytest.mark.parametrize("name", ["lora_24gb", "qlora_24gb"])
@pytest.mark.parametrize("method", CONFIGS)
def test_smaller_machines_fit_every_method(method: str, name: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(_packages, "find_spec", lambda name: object())  # bitsandbytes
    _, _, model = parse(method, CONFIGS[method], [*BASE, "--config", name])
    assert model.use_peft
    assert model.load_in_4bit is (name == "qlora_24gb")


def test_the_adapters_leave_the_picture_encoder_alone() -> None:
    import peft
    import torch
    from trl import get_peft_config

    from tests.trl_ext import tiny_models

    _, _, model = parse("dpo", PrefixDPOConfig, [*BASE, "--config", "lora_24gb"])
    network, _ = tiny_models.build("qwen2_vl", dtype=torch.float32)
    adapted = peft.get_peft_model(network, get_peft_config(model))
    trained = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert trained
    assert all("language_model" in name for name in trained)
    linear = {name.split(".")[-4] for name in trained}
    assert linear == {f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("learning_rat: 1\n", "unknown options --learning_rat"),
        ("- 1\n", "is not a YAML mapping"),
        ("a: [\n", "cannot be read"),
        ("[" * 50_000, "cannot be read"),
        ("seed: 2026-13-45\n", "cannot be read"),
        ("1: 2\n", "is not a YAML mapping"),
        ("env: [A, B]\n", "env is not a mapping"),
        ('env: {"A\\0": 1}\n', "cannot be a variable"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(content)
    with pytest.raises(DataError, match=problem) as caught:
        parse("dpo", PrefixDPOConfig, [*BASE, "--config", str(file)])
    assert str(file) in str(caught.value)


def test_a_value_that_an_option_refuses_is_one_message(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text("lr_scheduler_type: nonsense\n")
    with pytest.raises(SpyBenchError, match="settings cannot be used"):
        parse("dpo", PrefixDPOConfig, [*BASE, "--config", str(file)])


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpyBenchError, match=r"no settings file none\.yaml.*lora_24gb"):
        parse("dpo", PrefixDPOConfig, ["--config", "none.yaml"])
    with pytest.raises(SpyBenchError, match="names no file"):
        parse("dpo", PrefixDPOConfig, ["--config"])
    with pytest.raises(SpyBenchError, match="--model_name_or_path"):
        parse("dpo", PrefixDPOConfig, ["--bf16", "false", "--use_cpu", "true"])


@pytest.mark.parametrize(
    ("options", "package", "remedy"),
    [
        (["--attn_implementation", "flash_attention_2"], "flash_attn", "flash-attn"),
        (["--attn_implementation", "flash_attention_3"], "flash_attn_interface", "kernels"),
        (["--attn_implementation", "flash_attention_4"], "flash_attn", "flash-attn-4"),
        (["--use_liger_kernel"], "liger_kernel", "liger"),
        (["--config", "qlora_24gb"], "bitsandbytes", "bitsandbytes"),
        (["--report_to", "trackio"], "trackio", "trackio"),
    ],
)
def test_an_option_without_its_package_says_which(
    options: list[str], package: str, remedy: str, monkeypatch: Any
) -> None:
    absent = {package, "kernels"}
    monkeypatch.setattr(_packages, "find_spec", lambda name: None if name in absent else object())
    with pytest.raises(SpyBenchError, match=rf"needs {package}.*{remedy}"):
        parse("dpo", PrefixDPOConfig, [*BASE, *options])


def test_an_unknown_attention_is_one_message() -> None:
    with pytest.raises(SpyBenchError, match=r"flash_attention_5 is unknown\. Choose one of .*sdpa"):
        parse("dpo", PrefixDPOConfig, [*BASE, "--attn_implementation", "flash_attention_5"])
    for known in ("eager", "sdpa", "flex_attention"):
        parse("dpo", PrefixDPOConfig, [*BASE, "--attn_implementation", known])


def test_liger_on_a_cpu_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(_packages, "find_spec", lambda name: object())
    with pytest.raises(SpyBenchError, match="needs a GPU"):
        parse("dpo", PrefixDPOConfig, [*BASE, "--use_liger_kernel"])


def test_a_batch_that_does_not_divide_is_refused() -> None:
    assert accumulation(32, 2, 8) == 2
    assert accumulation(32, 32, 1) == 1
    with pytest.raises(SpyBenchError, match="32 is not a multiple of 3 rows on each of 8"):
        accumulation(32, 3, 8)


@pytest.mark.parametrize("name", configs.names("accelerate"))
def test_accelerate_reads_its_files(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(configs.find(name, "accelerate")))
    assert config.mixed_precision == "bf16"
    stages = {"zero1": 1, "zero2": 2, "zero2_offload": 2, "zero3": 3}
    if name in stages:
        assert config.deepspeed_config["zero_stage"] == stages[name]
    if name == "fsdp2":
        assert config.fsdp_config["fsdp_version"] == 2


def door_command(*words: str, monkeypatch: Any) -> list[str]:
    """The command that `spy-bench train` starts for these words."""
    commands: list[list[str]] = []

    class Launcher:
        def __init__(self, command: list[str], start_new_session: bool) -> None:
            assert start_new_session
            commands.append(command)

        def wait(self) -> int:
            return 3

    monkeypatch.setattr(subprocess, "Popen", Launcher)
    monkeypatch.setattr(cli, "Watch", Mock())  # it starts a process, too
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    assert cli.run(parser.parse_args(words)) == 3
    return commands[0]


@pytest.mark.parametrize(
    "words",
    [
        ("--accelerate", "zero2", "--num-processes", "4", "nca_priv", "--data", "d"),
        ("nca_priv", "--data", "d", "--num-processes=4", "--accelerate=zero2"),
    ],
)
def test_the_door_launches_scripts(words: tuple[str, ...], monkeypatch: Any) -> None:
    command = door_command(*words, monkeypatch=monkeypatch)
    assert command[:4] == [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    assert command[4].endswith("accelerate/zero2.yaml")
    assert command[5:] == ["--num_processes", "4", "-m", "trl_ext.scripts.nca_priv", "--data", "d"]


def test_the_door_names_methods_and_settings_without_loading_torch() -> None:
    code = (
        "import argparse, sys; from trl_ext.scripts import cli as cli\n"
        "parser = argparse.ArgumentParser(); cli.add_arguments(parser)\n"
        "assert 'torch' not in sys.modules; print(parser.format_help())"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    for name in ("nca_priv", "zero2_offload", "qlora_24gb"):
        assert name in shown.stdout


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--global_batch_size 0", "--global_batch_size is 0"),
        ("--score_items -1", "--score_items is -1"),
        ("--score_max_new_tokens 0", "--score_max_new_tokens is 0"),
        ("--max_rows -5", "--max_rows is -5"),
        ("--min_pixels 3136 --max_pixels 784", "--min_pixels 3136 is above --max_pixels 784"),
    ],
)
def test_numbers_that_cannot_be_used_are_one_message(words: str, problem: str) -> None:
    argv = ["--model_name_or_path", "spy-tiny-random", *words.split()]
    with pytest.raises(SpyBenchError, match=problem):
        parse("nca_priv", NCAPrivConfig, argv)


def test_a_model_of_the_package_is_its_folder() -> None:
    _, _, model = parse("nca_priv", NCAPrivConfig, ["--model_name_or_path", "spy-tiny-random"])
    assert (Path(model.model_name_or_path) / "model.safetensors").is_file()


def test_the_help_names_the_command_and_nothing_comes_before_it(capsys: Any, caplog: Any) -> None:
    caplog.set_level("INFO", "trl_ext")
    with pytest.raises(SystemExit):
        parse("nca_priv", NCAPrivConfig, ["--config", "lora_24gb", "--help"])
    assert capsys.readouterr().out.startswith("usage: spy-bench train nca_priv [-h]")
    assert caplog.messages == []


def test_the_help_needs_no_launcher(monkeypatch: Any) -> None:
    asked: list[object] = []
    monkeypatch.setattr(cli, "_script", lambda *words: asked.append(words) or 0)
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    assert cli.run(parser.parse_args(["sft", "--accelerate", "ddp", "--help"])) == 0
    assert asked == [("trl_ext.scripts.sft", ["--help"])]
