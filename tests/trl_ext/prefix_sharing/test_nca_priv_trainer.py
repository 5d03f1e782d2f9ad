"""`NCAPrivTrainer` trains, evaluates and logs as `DPOTrainer` does."""

from __future__ import annotations

import copy
import math

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
pytest.importorskip("trl")

from spy_plugin.errors import SpyBenchError  # noqa: E402
from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import (  # noqa: E402
    naive_loss,
    naive_table,
    paired_rows,
    without_pictures,
)
from tests.trl_ext.trainers import changed, config, losses, weights  # noqa: E402
from trl_ext import NCAPrivTrainer  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    return datasets.Dataset.from_list(paired_rows(4))


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_two_steps_change_the_weights_of_every_family(tmp_path, rows, family):
    tiny_models.build(family, directory=tmp_path / "model")
    trainer = NCAPrivTrainer(
        str(tmp_path / "model"), args=config(tmp_path / "run"), train_dataset=rows
    )
    before = weights(trainer.model)
    trainer.train()
    assert losses(trainer)[0] == pytest.approx(4 * math.log(2), abs=1e-5)
    assert all(map(math.isfinite, losses(trainer)))
    unread = {"llava": "vision_tower.encoder.layers.1", "llava_onevision": "post_layernorm"}
    for name in before.keys() - changed(trainer.model, before):
        # LLaVA reads the last but one layer of its vision tower, LLaVA-OneVision skips its norm.
        assert unread.get(family, "nothing") in name or "vision_tower.post_layernorm" in name


@pytest.mark.parametrize("images", [0, 2])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "gemma3"])
def test_rows_may_have_no_picture_or_several(tmp_path, family, images):
    tiny_models.build(family, directory=tmp_path / "model")
    train = paired_rows(4, images)
    trainer = NCAPrivTrainer(
        str(tmp_path / "model"),
        args=config(tmp_path / "run"),
        train_dataset=datasets.Dataset.from_list(train if images else without_pictures(train)),
    )
    before = weights(trainer.model)
    trainer.train()
    assert all(map(math.isfinite, losses(trainer)))
    assert any("embed_tokens" in name for name in changed(trainer.model, before))


@pytest.mark.parametrize("prefix_sharing", ["off", "auto"])
def test_first_step_is_that_of_four_separate_passes(tmp_path, rows, prefix_sharing):
    model, processor = tiny_models.build("qwen2_vl", dtype=torch.float64)
    reference, _ = tiny_models.build("qwen2_vl", dtype=torch.float64, seed=1)
    stored = [dict(row) for row in rows]
    with torch.no_grad():
        policy_table, reference_table = (
            naive_table(each, processor, stored) for each in (model, reference)
        )
    args = config(
        tmp_path,
        max_steps=1,
        per_device_train_batch_size=4,
        prefix_sharing=prefix_sharing,
        beta=0.2,
    )
    trainer = NCAPrivTrainer(
        model, reference, args=args, train_dataset=rows, processing_class=processor
    )
    expected = naive_loss(policy_table, reference_table, 0.2).item()
    loss = trainer.compute_loss(trainer.model.train(), trainer.data_collator(stored))
    assert loss.item() == pytest.approx(expected, abs=1e-9)
    trainer.train()
    entry = trainer.state.log_history[0]
    assert entry["loss"] == pytest.approx(expected, abs=1e-6)  # Trainer sums in float32
    rewards = 0.2 * (policy_table - reference_table)
    right = rewards[..., 0] > rewards[..., 1]
    assert entry["logps/rejected_1"] == pytest.approx(policy_table[:, 1, 1].mean().item(), rel=1e-6)
    assert entry["rewards/chosen_0"] == pytest.approx(rewards[:, 0, 0].mean().item(), rel=1e-5)
    assert entry["rewards/margins_0"] == pytest.approx(
        (rewards[:, 0, 0] - rewards[:, 0, 1]).mean().item(), rel=1e-5
    )
    assert entry["rewards/accuracies_1"] == right[:, 1].double().mean().item()
    assert entry["rewards/ics"] == right.all(dim=1).double().mean().item()


def test_accumulated_batches_are_one_large_batch(tmp_path, saved, rows):
    after = []
    for batch, accumulation in ((4, 1), (2, 2)):
        args = config(
            tmp_path,
            max_steps=1,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            optim="sgd",
        )
        trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows)
        trainer.train()
        after.append(weights(trainer.model))
    for name, value in after[0].items():
        torch.testing.assert_close(value, after[1][name], rtol=1e-5, atol=1e-6)


def test_gradient_checkpointing_changes_nothing(tmp_path, saved, rows):
    after = []
    for checkpointing in (True, False):
        args = config(tmp_path, gradient_checkpointing=checkpointing)
        trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows)
        trainer.train()
        after.append(weights(trainer.model))
    for name, value in after[0].items():
        torch.testing.assert_close(value, after[1][name], rtol=1e-5, atol=1e-6)


def test_layers_are_compiled_and_activations_kept_on_request(tmp_path, saved, rows, monkeypatch):
    compiled = []
    monkeypatch.setattr("trl_ext.prefix_sharing.trainer.compile_layers", compiled.append)
    args = config(tmp_path, keep_activations=1, compile_layers=True)
    trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    trainer.train()
    assert compiled == [trainer.model]
    layers = trainer.model.model.language_model.layers
    assert [layer.gradient_checkpointing for layer in layers] == [True, False]


def test_bfloat16_autocast_and_worker_processes(tmp_path, saved, rows):
    args = config(tmp_path, bf16=True, use_cpu=True, dataloader_num_workers=1)
    trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    trainer.train()
    assert losses(trainer)[0] == pytest.approx(4 * math.log(2), abs=0.02)


def test_evaluation_averages_rows_and_hands_rewards_to_compute_metrics(tmp_path, saved, rows):
    received = []

    def compute_metrics(prediction):
        received.append(prediction)
        chosen = prediction.predictions[prediction.label_ids == 1]
        return {"chosen_reward": float(chosen.mean())}

    trainer = NCAPrivTrainer(
        saved,
        args=config(tmp_path, max_steps=1),
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=compute_metrics,
    )
    trainer.train()
    metrics = trainer.evaluate()
    assert received[-1].predictions.shape == (4, 4)
    assert received[-1].label_ids.tolist() == [[1, 0, 1, 0]] * 4
    logged = trainer.state.log_history[-1]
    sides = (logged["eval_rewards/chosen_0"] + logged["eval_rewards/chosen_1"]) / 2
    assert metrics["eval_chosen_reward"] == pytest.approx(sides, rel=1e-5)
    # Batches of 3 and 1 rows: every row has equal weight.
    logps = naive_table(trainer.model, trainer.processing_class, [dict(row) for row in rows])
    assert logged["eval_logps/rejected_1"] == pytest.approx(logps[:, 1, 1].mean().item(), rel=1e-4)


def test_several_evaluation_sets_and_streams(tmp_path, saved, rows):
    trainer = NCAPrivTrainer(
        saved,
        args=config(tmp_path, eval_strategy="steps", eval_steps=1),
        train_dataset=rows.to_iterable_dataset(),
        eval_dataset={"seen": rows, "half": rows.select([0, 1])},
    )
    trainer.train()
    keys = {key for entry in trainer.state.log_history for key in entry}
    assert {"eval_seen_loss", "eval_half_loss", "eval_rewards/ics"} <= keys


def test_a_resumed_run_goes_on_with_the_same_losses(tmp_path, saved, rows):
    args = config(
        tmp_path, max_steps=4, save_strategy="steps", save_steps=2, lr_scheduler_type="cosine"
    )
    whole = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    whole.train()
    resumed = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert losses(resumed)[2:] == pytest.approx(losses(whole)[2:], abs=1e-6)
    assert losses(whole)[2] != pytest.approx(losses(whole)[0], abs=1e-4)


@pytest.mark.parametrize("family", ["qwen2_vl", "llava", "gemma3"])
@pytest.mark.parametrize("shard", ["100MB", "100KB"])
def test_checkpoints_are_found_whole_under_the_names_of_the_hub(tmp_path, rows, family, shard):
    tiny_models.build(family, directory=tmp_path / "model")
    trainer = NCAPrivTrainer(
        str(tmp_path / "model"), args=config(tmp_path / "run"), train_dataset=rows
    )
    other, _ = tiny_models.build(family, seed=5)
    other.save_pretrained(tmp_path / "checkpoint", max_shard_size=shard)
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint"))
    assert not changed(trainer.model, weights(other))


def test_the_reference_model_follows_the_policy_if_asked(tmp_path, saved, rows):
    args = config(tmp_path, sync_ref_model=True, ref_model_sync_steps=1, ref_model_mixup_alpha=1.0)
    trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    trainer.train()
    policy = weights(trainer.model)
    for name, value in trainer.ref_model.named_parameters():
        torch.testing.assert_close(value, policy[name])


def test_the_model_card_cites_the_paper(tmp_path, saved, rows):
    trainer = NCAPrivTrainer(saved, args=config(tmp_path), train_dataset=rows)
    trainer.create_model_card(model_name="tiny")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "trained with NCA-P" in card
    assert "Specify Privacy Yourself" in card
    assert "@inproceedings{wang2025specify" in card
    assert "- spy-bench" in card


def test_model_processor_and_card_are_pushed_to_the_hub(tmp_path, saved, rows, monkeypatch):
    from types import SimpleNamespace

    pushed = {}
    hub = SimpleNamespace(
        create_repo=lambda name, **_: SimpleNamespace(repo_id=f"me/{name}"),
        upload_folder=lambda **options: pushed.update(options),
    )
    monkeypatch.setattr("transformers.trainer.hf_api", lambda: hub)
    trainer = NCAPrivTrainer(saved, args=config(tmp_path / "spy"), train_dataset=rows)
    trainer.push_to_hub(dataset_name="SPY-Tune")
    assert pushed["repo_id"] == "me/spy"
    folder = tmp_path / "spy"
    assert (folder / "model.safetensors").is_file()
    assert (folder / "processor_config.json").is_file()
    assert "nca-priv" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_quantization_config_reaches_the_loader(tmp_path, saved, rows, monkeypatch):
    received = {}

    def load(path, **options):
        received.update(options)
        return tiny_models.build("qwen2_vl", directory=saved)[0]

    monkeypatch.setattr("trl.trainer.dpo_trainer.create_model_from_path", load)
    wanted = object()
    NCAPrivTrainer(saved, args=config(tmp_path), train_dataset=rows, quantization_config=wanted)
    assert received["quantization_config"] is wanted


def test_what_cannot_work_is_refused_with_the_remedy(tmp_path, saved, rows):
    from trl import DPOConfig

    model, processor = tiny_models.build("qwen2_vl")
    dispatch = config(tmp_path, accelerator_config={"dispatch_batches": True})
    for arguments, message in [
        ({"model": saved, "args": DPOConfig(str(tmp_path), bf16=False)}, "Pass a NCAPrivConfig"),
        ({"model": model, "processing_class": processor}, "Pass ref_model"),
        ({"model": saved, "args": dispatch}, "dispatch_batches"),
    ]:
        with pytest.raises(SpyBenchError, match=message):
            NCAPrivTrainer(**{"args": config(tmp_path), "train_dataset": rows, **arguments})


def test_a_model_object_is_trained_in_place(tmp_path, rows):
    model, processor = tiny_models.build("qwen2_vl")
    trainer = NCAPrivTrainer(
        model,
        ref_model=copy.deepcopy(model),
        args=config(tmp_path),
        train_dataset=rows,
        processing_class=processor,
    )
    before = weights(model)
    trainer.train()
    assert changed(model, before)
