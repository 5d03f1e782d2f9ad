"""Checkpoints of models whose weights are saved under other names than in the model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")

from safetensors.torch import save_file  # noqa: E402

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import paired_rows  # noqa: E402
from tests.trl_ext.trainers import losses  # noqa: E402
from trl_ext.checkpoints import (  # noqa: E402
    WholeCheckpoints,
    load_renamed_weights,
    save_trained_model,
)


def test_only_renamed_weights_are_loaded_here(tmp_path):
    model, _ = tiny_models.build("qwen2_vl")
    other, _ = tiny_models.build("qwen2_vl", seed=1)
    other.save_pretrained(tmp_path / "renamed")
    other.save_pretrained(tmp_path / "same", save_original_format=False)
    assert not load_renamed_weights(model, tmp_path / "same")
    assert not load_renamed_weights(model, tmp_path)  # without weights: leave the error to others
    assert load_renamed_weights(model, tmp_path / "renamed")
    for name, value in model.named_parameters():
        assert torch.equal(value, other.get_parameter(name)), name


def test_supervised_training_resumes_with_the_same_losses(tmp_path):
    class ResumableSFTTrainer(WholeCheckpoints, trl.SFTTrainer):
        pass

    tiny_models.build("qwen2_vl", directory=tmp_path / "model")
    rows = datasets.Dataset.from_list(
        [
            {"images": row["images"], "messages": row["prompt_0"] + row["chosen_0"]}
            for row in paired_rows(4)
        ]
    )
    args = trl.SFTConfig(
        str(tmp_path / "run"),
        per_device_train_batch_size=2,
        max_steps=3,
        save_steps=2,
        learning_rate=1e-3,
        logging_steps=1,
        max_length=None,
        report_to="none",
        bf16=False,
        disable_tqdm=True,
    )

    def trainer():
        return ResumableSFTTrainer(str(tmp_path / "model"), args=args, train_dataset=rows)

    whole, resumed = trainer(), trainer()
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert losses(resumed)[2] == pytest.approx(losses(whole)[2], abs=1e-5)


def saved_by(trainer, folder):
    (folder / "checkpoint-7").mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "optimizer.pt", "trainer_state.json"):
        (folder / "checkpoint-7" / name).write_text(name)
    save_file({"w": torch.ones(2)}, folder / "checkpoint-7" / "model.safetensors")
    save_trained_model(trainer)


def stand_in(folder, step=7, best=False):
    """What `save_trained_model` asks a trainer for."""
    calls = []
    args = SimpleNamespace(output_dir=str(folder), load_best_model_at_end=best, should_save=True)
    trainer = SimpleNamespace(
        args=args,
        state=SimpleNamespace(global_step=step),
        is_fsdp_enabled=False,
        is_deepspeed_enabled=False,
        save_model=calls.append,
    )
    return trainer, calls


def test_the_trained_model_is_a_link_to_what_the_last_checkpoint_holds(tmp_path):
    trainer, calls = stand_in(tmp_path)
    saved_by(trainer, tmp_path)
    assert not calls
    names = {each.name for each in tmp_path.iterdir() if each.is_file()}
    assert names == {"model.safetensors", "config.json"}
    assert (tmp_path / "model.safetensors").stat().st_nlink == 2
    save_trained_model(trainer)  # again, over the links
    assert not calls


@pytest.mark.parametrize("options", [{"step": 8}, {"best": True}])
def test_another_model_than_the_last_checkpoint_is_written(tmp_path, options):
    trainer, calls = stand_in(tmp_path, **options)
    (tmp_path / "model.safetensors").write_text("of an earlier run")
    saved_by(trainer, tmp_path)
    assert calls == [str(tmp_path)]
    assert not (tmp_path / "model.safetensors").exists()  # it may be linked to


def test_what_fsdp_split_is_gathered_in_the_dtype_that_it_was_loaded_in(tmp_path):
    trainer, calls = stand_in(tmp_path)
    kinds = []
    plugin = SimpleNamespace(set_state_dict_type=kinds.append)
    trainer.is_fsdp_enabled = True
    trainer.accelerator = SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin))
    trainer.model, _ = tiny_models.build("qwen2_vl")  # float32, as FSDP trains
    trainer.model.config.dtype = torch.bfloat16  # as it was loaded
    save_trained_model(trainer)
    assert kinds == ["FULL_STATE_DICT"]
    assert calls == [str(tmp_path)]
    assert {weight.dtype for weight in trainer.model.parameters()} == {torch.bfloat16}
