"""Checkpoints of models whose weights are saved under other names than in the model."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import paired_rows  # noqa: E402
from tests.trl_ext.trainers import losses  # noqa: E402
from trl_ext.checkpoints import WholeCheckpoints, load_renamed_weights  # noqa: E402


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
