"""The plain trainer: TRL's way to run a batch, with the numbers of separate passes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
pytest.importorskip("trl")

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import naive_loss, naive_table, paired_rows  # noqa: E402
from tests.trl_ext.trainers import changed, losses, weights  # noqa: E402
from trl_ext.nca_priv import NCAPrivConfig, NCAPrivTrainer  # noqa: E402


def config(folder, **options):
    defaults = {
        "max_steps": 2,
        "warmup_steps": 0,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": False,
        "disable_tqdm": True,
        "per_device_train_batch_size": 3,
        "per_device_eval_batch_size": 2,
    }
    return NCAPrivConfig(str(folder), **{**defaults, **options})


@pytest.mark.parametrize("family", ["qwen2_vl", "llava", "gemma3"])
def test_loss_and_gradients_equal_four_separate_passes(tmp_path, family):
    model, processor = tiny_models.build(family, dtype=torch.float64)
    reference, _ = tiny_models.build(family, dtype=torch.float64, seed=1)
    rows = paired_rows(3)
    trainer = NCAPrivTrainer(
        model,
        reference,
        args=config(tmp_path, beta=0.3),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=processor,
    )
    with torch.no_grad():
        expected_reference = naive_table(reference, processor, rows)
    expected = naive_loss(naive_table(model, processor, rows), expected_reference, 0.3)
    parameters = [p for p in model.parameters() if p.requires_grad]
    expected_gradients = torch.autograd.grad(expected, parameters, allow_unused=True)
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9)
    pairs = [(a, b) for a, b in zip(gradients, expected_gradients, strict=True) if b is not None]
    flat, expected_flat = (
        torch.cat([each.flatten() for each in one]) for one in zip(*pairs, strict=True)
    )
    allowed = 1e-6 if family == "gemma3" else 1e-7  # Gemma 3 normalises in float32
    assert (flat - expected_flat).norm() <= allowed * expected_flat.norm()


@pytest.mark.parametrize("images", [0, 1, 2])
def test_training_evaluation_and_prediction(tmp_path, saved, images):
    rows = datasets.Dataset.from_list(paired_rows(3, images))
    if not images:
        rows = rows.remove_columns("images")
    trainer = NCAPrivTrainer(saved, args=config(tmp_path), train_dataset=rows, eval_dataset=rows)
    before = weights(trainer.model)
    trainer.train()
    assert losses(trainer)[1] < losses(trainer)[0]
    assert changed(trainer.model, before)
    loss = trainer.evaluate()["eval_loss"]
    output = trainer.predict(rows)
    assert output.predictions.shape == (3, 4)
    assert output.label_ids.tolist() == [[1, 0, 1, 0]] * 3
    assert output.metrics["test_loss"] == pytest.approx(loss, abs=1e-6)


def test_a_prompt_that_fills_max_length_is_an_error(tmp_path, saved):
    rows = datasets.Dataset.from_list(paired_rows(3))
    trainer = NCAPrivTrainer(saved, args=config(tmp_path, max_length=20), train_dataset=rows)
    with pytest.raises(ValueError, match="max_length=20"):
        trainer.train()


def test_other_losses_are_refused(tmp_path):
    with pytest.raises(ValueError, match="DPOTrainer for the others"):
        config(tmp_path, loss_type=["sigmoid"])


def test_it_does_not_know_the_benchmark():
    import sys
    from pathlib import Path

    folder = Path(sys.modules["trl_ext.nca_priv"].__file__).parent
    text = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    assert "spy_plugin" not in text
    assert "prefix_sharing" not in text
