"""The official training commands work here, or each of their options says what it is called."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tests.conftest import ROOT
from tests.trl_ext.script_runs import prepare, train
from trl_ext.scripts import nca_priv
from trl_ext.scripts._official import DROPPED, NAMES, translated

COMMAND = """
    --train_data_path data/train_data.json --eval_data_path data/eval_data.json
    --label_path data/label2text.json --image_folder data --shuffle True --add_distractors True
    --bf16 --tf32 True --torch_dtype bfloat16 --use_liger --warmup_ratio 0.1 --save_only_model True
"""


def test_each_option_gets_our_name_and_keeps_its_value(caplog: Any) -> None:
    with caplog.at_level(logging.INFO):
        found = translated(COMMAND.split())
    assert shlex.join(found) == (
        "--data data/train_data.json --eval_data data/eval_data.json "
        "--label2text data/label2text.json --image_root data --shuffle_seed 42 --distractors True "
        "--bf16 true --tf32 True --dtype bfloat16 --use_liger_kernel --warmup_steps 0.1 "
        "--save_only_model True"
    )
    assert "--train_data_path of the official scripts is --data here" in caplog.text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--shuffle", "--shuffle_seed 42"),
        ("--shuffle True --seed 7", "--shuffle_seed 7 --seed 7"),
        ("--seed=7 --shuffle=true", "--seed=7 --shuffle_seed 7"),
        ("--shuffle False --beta 0.1", "--beta 0.1"),
        ("--num_train_samples=10 --train_name mine", "--max_rows=10 --run_name mine"),
        ("--wandb_mode disabled --eval_temperature 0.0 --beta 0.1", "--beta 0.1"),
        ("--max_prompt_length=512 --ignore_bias_buffers --fp16", "--fp16 true"),
    ],
)
def test_options_without_a_counterpart_are_left_out(words: str, expected: str, caplog: Any) -> None:
    assert shlex.join(translated(words.split())) == expected
    for option in DROPPED:
        assert (f"--{option} of the official scripts is left out" in caplog.text) == (
            option in words
        )


def test_the_page_lists_every_option() -> None:
    page = (ROOT / "docs" / "from_official_scripts.md").read_text(encoding="utf-8")
    training = page.partition("## Training")[2]
    for option, ours in NAMES.items():
        assert f"`--{option}`" in training, option
        assert f"--{ours}" in training, ours
    for option in DROPPED:
        assert f"`--{option}`" in training, option


def test_the_official_command_trains(tmp_path: Path) -> None:
    prepared = prepare(tmp_path)
    command = f"""
        --model_name_or_path {prepared["model_name_or_path"]} --train_data_path {prepared["data"]}
        --eval_data_path {prepared["data"]} --label_path {tmp_path}/data/label2text.json
        --image_folder {tmp_path}/data --shuffle True --add_distractors True
        --min_pixels 784 --max_pixels 3136 --num_train_epochs 1.0 --save_strategy epoch
        --logging_steps 10 --eval_steps 100 --per_device_train_batch_size 4
        --per_device_eval_batch_size 4 --gradient_accumulation_steps 1 --gradient_checkpointing
        --learning_rate 3e-6 --loss_type nca_priv --beta 0.01 --weight_decay 0.05
        --warmup_ratio 0.1 --lr_scheduler_type cosine --bf16 --torch_dtype float32
        --output_dir {tmp_path}/out --save_only_model True --report_to none
    """
    trainer = train("nca_priv", command.split())
    assert trainer.state.epoch == 1
    assert trainer.args.warmup_steps == 0.1
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--betta 2", "the option --betta is unknown (did you mean --beta?)"),
        ("--beta much", "argument --beta: invalid float value: 'much'"),
        ("--tf32 True", "--tf32 requires"),
        ("stray", "'stray' belongs to no option"),
    ],
)
def test_a_wrong_option_is_one_line(
    words: str, said: str, tmp_path: Path, caplog: Any, capsys: Any, monkeypatch: Any
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    base = f"--model_name_or_path {model} --output_dir {tmp_path}/out {words}"
    assert nca_priv.main(base.split()) == 1
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert said in error.message
    assert "\n" not in error.message
    assert "usage:" not in capsys.readouterr().err
