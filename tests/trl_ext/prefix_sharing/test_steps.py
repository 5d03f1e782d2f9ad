"""Several optimizer steps end with the weights of an independent loop, in float64."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
peft = pytest.importorskip("peft")
pytest.importorskip("trl")

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.loops import train_naively  # noqa: E402
from tests.trl_ext.rows import naive_table, paired_rows  # noqa: E402
from tests.trl_ext.trainers import config  # noqa: E402
from trl_ext import NCAPrivTrainer  # noqa: E402

RATE, BETA = 1e-3, 0.3


def settings(folder, **options):
    return config(
        folder,
        beta=BETA,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=0.0,
        train_sampling_strategy="sequential",
        **options,
    )


def assert_same_weights(model, expected, start):
    trained = [(n, p) for n, p in expected.named_parameters() if p.requires_grad]
    found = dict(model.named_parameters())
    moved = max((p - start[n]).abs().max().item() for n, p in trained)
    apart = max((p - found[n]).abs().max().item() for n, p in trained)
    assert moved > RATE / 2
    # Adam divides by the gradient's size: where that is rounding, so is the direction of the step.
    assert apart < 1e-3 * moved, (apart, moved)


@pytest.mark.parametrize("prefix_sharing", ["off", "row"])
def test_full_training_of_several_steps(tmp_path, prefix_sharing):
    model, processor = tiny_models.build("qwen2_vl", dtype=torch.float64)
    expected, start = copy.deepcopy(model), dict(copy.deepcopy(model).named_parameters())
    rows = paired_rows(6)
    args = settings(
        tmp_path, max_steps=3, gradient_accumulation_steps=2, per_device_train_batch_size=1,
        prefix_sharing=prefix_sharing,
    )  # fmt: skip
    trainer = NCAPrivTrainer(
        model,
        copy.deepcopy(model),
        args=args,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=processor,
    )
    trainer.train()
    steps = [[[0], [1]], [[2], [3]], [[4], [5]]]
    train_naively(expected, None, processor, rows, steps, beta=BETA, learning_rate=RATE)
    assert_same_weights(trainer.model, expected, start)


def test_groups_of_unequal_size_in_accumulated_batches(tmp_path):
    model, processor = tiny_models.build("qwen2_vl", dtype=torch.float64)
    reference, _ = tiny_models.build("qwen2_vl", dtype=torch.float64, seed=1)
    expected, start = copy.deepcopy(model), dict(copy.deepcopy(model).named_parameters())
    rows = paired_rows(8)[1:]
    args = settings(
        tmp_path, num_train_epochs=2, max_steps=-1, prefix_sharing="image",
        per_device_train_batch_size=2, gradient_accumulation_steps=2,
    )  # fmt: skip
    trainer = NCAPrivTrainer(
        model,
        reference,
        args=args,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=processor,
    )
    batches = list(trainer.batches)
    assert len({len(batch) for batch in batches}) > 1
    trainer.train()
    assert trainer.state.global_step == 4
    with torch.no_grad():
        table = naive_table(reference, processor, rows)
    train_naively(
        expected, table, processor, rows, [batches[:2], batches[2:]] * 2, beta=BETA,
        learning_rate=RATE, mean_rows=len(rows) / len(batches),
    )  # fmt: skip
    assert_same_weights(trainer.model, expected, start)


@pytest.mark.parametrize("prefix_sharing", ["off", "row"])
def test_adapters_over_several_steps(tmp_path, prefix_sharing):
    model, processor = tiny_models.build("qwen2_vl", dtype=torch.float64)
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = peft.get_peft_model(model, lora, autocast_adapter_dtype=False)
    expected, start = copy.deepcopy(model), dict(copy.deepcopy(model).named_parameters())
    rows = paired_rows(4)
    trainer = NCAPrivTrainer(
        model,
        args=settings(tmp_path, max_steps=2, prefix_sharing=prefix_sharing),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=processor,
    )
    trainer.train()
    train_naively(
        expected, None, processor, rows, [[[0, 1]], [[2, 3]]], beta=BETA, learning_rate=RATE
    )
    assert_same_weights(trainer.model, expected, start)
