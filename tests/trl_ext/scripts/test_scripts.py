"""The training scripts: the numbers of TRL's trainers, resuming, and scoring during training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from spy_plugin.compat.torchvision import declare_missing_ops  # noqa: E402
from spy_plugin.errors import SpyBenchError  # noqa: E402

declare_missing_ops()

from tests.trl_ext.script_runs import losses, prepare, start, train, words  # noqa: E402
from trl_ext import load_spy_tune  # noqa: E402
from trl_ext.scripts import _output_folder  # noqa: E402

METHODS = ("sft", "dpo", "nca", "nca_priv")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prepare(tmp_path_factory.mktemp("training"))


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_and_saves(method: str, prepared: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    trainer = train(method, words(prepared, output_dir=tmp_path))
    curve = losses(trainer.state.log_history)
    assert len(curve) == 3
    assert all(0 < loss < 20 for loss in curve)
    before = AutoModelForImageTextToText.from_pretrained(prepared["model_name_or_path"])
    after = AutoModelForImageTextToText.from_pretrained(tmp_path)
    old = dict(before.named_parameters())
    assert any(not torch.equal(weight, old[name]) for name, weight in after.named_parameters())
    size = AutoProcessor.from_pretrained(tmp_path).image_processor.size
    assert dict(size) == {"shortest_edge": 784, "longest_edge": 3136}


@pytest.mark.parametrize(
    ("method", "loss", "beta"), [("dpo", "sigmoid", 0.5), ("nca", "nca_pair", 0.01)]
)
def test_preference_scripts_give_the_numbers_of_trl(
    method: str, loss: str, beta: float, prepared: Any, tmp_path: Path
) -> None:
    from transformers import AutoProcessor
    from trl import DPOConfig, DPOTrainer

    # TRL's order of rows: by default the rows of one picture come together.
    ours = train(method, words(prepared, output_dir=tmp_path / "ours", prefix_sharing="row"))
    arguments = DPOConfig(
        output_dir=str(tmp_path / "trl"),
        beta=beta,
        loss_type=[loss],
        max_length=None,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        weight_decay=0.05,
        max_steps=3,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=4,
        logging_steps=1,
        save_strategy="no",
        bf16=False,
        use_cpu=True,
        report_to="none",
    )
    processor = AutoProcessor.from_pretrained(prepared["model_name_or_path"])
    processor.image_processor.size = {"shortest_edge": 784, "longest_edge": 3136}
    theirs = DPOTrainer(
        model=prepared["model_name_or_path"],
        args=arguments,
        train_dataset=load_spy_tune(prepared["data"], "preference"),
        processing_class=processor,
    )
    theirs.train()
    # Shared prefixes change the order of sums: equal up to float32 rounding, not bit for bit.
    for name in ("loss", "rewards/margins", "logps/chosen", "grad_norm"):
        expected = pytest.approx(losses(theirs.state.log_history, name), rel=1e-4, abs=1e-5)
        assert losses(ours.state.log_history, name) == expected, name
    for (name, mine), other in zip(
        ours.model.named_parameters(), theirs.model.parameters(), strict=True
    ):
        assert torch.allclose(mine, other, rtol=1e-3, atol=1e-4), name


def test_sft_learns_from_the_answer_alone(prepared: Any, tmp_path: Path) -> None:
    trainer = train("sft", words(prepared, output_dir=tmp_path, max_steps=1))
    batch = next(iter(trainer.get_train_dataloader()))
    learned = batch["labels"][0][batch["labels"][0] != -100]
    text = trainer.processing_class.tokenizer.decode(learned)
    answer = trainer.train_dataset[0]["completion"][0]["content"][0]["text"]
    assert "What is thing" not in text
    assert text.strip().removesuffix("<|im_end|>") in {
        row["completion"][0]["content"][0]["text"] for row in trainer.train_dataset
    }, (text, answer)


def test_adapters_train_and_load_again(prepared: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    trainer = train("nca_priv", words(prepared, output_dir=tmp_path, config="lora_24gb"))
    assert trainer.ref_model is None
    assert (tmp_path / "adapter_config.json").is_file()
    assert not (tmp_path / "model.safetensors").exists()
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert any("lora" in name for name, _ in loaded.named_parameters())


def test_a_killed_run_goes_on_where_it_was(prepared: Any, tmp_path: Path) -> None:
    options = {"max_steps": 8, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 2}
    killed = start("nca_priv", words(prepared, options, output_dir=tmp_path / "killed"))
    try:
        end = time.monotonic() + 240
        while not (tmp_path / "killed" / "checkpoint-4" / "trainer_state.json").is_file():
            assert killed.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < end, "no checkpoint in four minutes"
            time.sleep(0.02)
    finally:
        killed.kill()
        killed.wait()
    whole = train("nca_priv", words(prepared, options, output_dir=tmp_path / "whole"))
    resumed = train(
        "nca_priv",
        words(prepared, options, output_dir=tmp_path / "killed", resume_from_checkpoint="last"),
    )
    assert resumed.state.global_step == whole.state.global_step
    for name in ("loss", "grad_norm", "rewards/margins"):
        expected = losses(whole.state.log_history, name)
        assert losses(resumed.state.log_history, name) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_trl_methods_resume_with_the_same_next_loss(
    method: str, prepared: Any, tmp_path: Path
) -> None:
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 2}
    whole = train(method, words(prepared, options, output_dir=tmp_path))
    (tmp_path / "checkpoint-4" / "trainer_state.json").unlink()
    resumed = train(
        method, words(prepared, options, output_dir=tmp_path, resume_from_checkpoint="last")
    )
    expected = losses(whole.state.log_history)
    assert losses(resumed.state.log_history) == pytest.approx(expected, rel=1e-5)


def test_a_checkpoint_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    find = _output_folder.checkpoint_to_resume
    assert find(None, tmp_path) is None
    assert find("last", tmp_path) is None
    for step, state in (("9", "{}"), ("10", "{}"), ("11", '{"epo'), ("12", None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert find("last", tmp_path) == str(tmp_path / "checkpoint-10")


def test_a_named_checkpoint_must_be_complete(tmp_path: Path) -> None:
    with pytest.raises(SpyBenchError, match="none holds no complete checkpoint"):
        _output_folder.checkpoint_to_resume(str(tmp_path / "none"), tmp_path)
    (tmp_path / "trainer_state.json").write_text("{}")
    assert _output_folder.checkpoint_to_resume(str(tmp_path), tmp_path / "other") == str(tmp_path)


def test_an_earlier_run_is_not_replaced_unless_asked(prepared: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train("sft", words(prepared, output_dir=out, max_steps=1))
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(SpyBenchError, match=r"holds an earlier run \(config\.json\)"):
        train("sft", words(prepared, output_dir=out, max_steps=2))
    assert (out / "model.safetensors").read_bytes() == before
    train("sft", words(prepared, output_dir=out, max_steps=2, overwrite_output_dir="true"))
    assert (out / "model.safetensors").read_bytes() != before


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        for used_again in (False, True):
            with pytest.raises(SpyBenchError, match=f"{place}: {tmp_path / 'file'} is a file"):
                _output_folder.check_output(place, used_again=used_again)
    _output_folder.check_output(tmp_path / "none")


def test_evaluation_without_data_is_refused(prepared: Any, tmp_path: Path) -> None:
    with pytest.raises(SpyBenchError, match="--eval_data"):
        train("dpo", words(prepared, output_dir=tmp_path, eval_strategy="steps"))


def test_evaluation_runs_on_other_rows(prepared: Any, tmp_path: Path) -> None:
    options = {"eval_strategy": "steps", "eval_steps": 2, "eval_data": prepared["data"]}
    trainer = train("nca_priv", words(prepared, options, output_dir=tmp_path, max_steps=2))
    assert len(losses(trainer.state.log_history, "eval_loss")) == 1


def test_an_error_is_one_line(prepared: Any, tmp_path: Path, caplog: Any) -> None:
    from trl_ext.scripts import dpo

    assert dpo.main(words(prepared, output_dir=tmp_path, data=tmp_path / "none.json")) == 1
    assert "none.json" in caplog.text
    assert "Traceback" not in caplog.text


def test_half_precision_weights_alone_are_warned_about(
    prepared: Any, tmp_path: Path, caplog: Any
) -> None:
    train("sft", words(prepared, output_dir=tmp_path, max_steps=1, dtype="bfloat16"))
    assert "rounds small updates away" in caplog.text
