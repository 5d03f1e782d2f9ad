"""Options of transformers' `Trainer` mean what they mean there, whatever is shared."""

from __future__ import annotations

import copy
import logging

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
peft = pytest.importorskip("peft")
trl = pytest.importorskip("trl")

from spy_plugin.errors import SpyBenchError  # noqa: E402
from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import paired_rows  # noqa: E402
from tests.trl_ext.trainers import config, losses  # noqa: E402
from trl_ext import NCAPrivTrainer, PrefixDPOConfig, PrefixDPOTrainer  # noqa: E402
from trl_ext.prefix_sharing import tested  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    return datasets.Dataset.from_list(paired_rows(6))


def tokens_of(trainer, rows):
    batch = trainer.data_collator([dict(row) for row in rows])
    return sum(map(len, batch["sequences"].input_ids))


@pytest.mark.parametrize("wanted", [["loss"], ["inputs"], ["inputs", "loss"]])
def test_losses_and_inputs_reach_compute_metrics(tmp_path, saved, rows, wanted):
    got = []
    trainer = NCAPrivTrainer(
        saved,
        args=config(tmp_path, include_for_metrics=wanted),
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=lambda found: got.append(found) or {"rows": len(found.predictions)},
    )
    assert trainer.evaluate()["eval_rows"] == 6
    [found] = got
    assert (found.losses is not None) == ("loss" in wanted)
    assert (found.inputs is not None) == ("inputs" in wanted)
    if found.inputs is not None:
        ids = trainer.data_collator([dict(rows[5])])["input_ids"][0]
        assert found.inputs.shape[0] == 6
        assert found.inputs[5, : len(ids)].tolist() == ids.tolist()


@pytest.mark.parametrize("prefix_sharing", ["off", "row", "image"])
def test_tokens_are_counted_whatever_is_shared(tmp_path, saved, rows, prefix_sharing):
    args = config(
        tmp_path,
        prefix_sharing=prefix_sharing,
        max_steps=-1,
        num_train_epochs=1,
        include_num_input_tokens_seen="non_padding",
    )
    trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    expected = tokens_of(trainer, rows)
    trainer.train()
    assert trainer.state.num_input_tokens_seen == expected
    logged = [entry["num_tokens"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged[-1] == expected
    assert logged == sorted(logged)
    shared = [e for e in trainer.state.log_history if "prefix_sharing/tokens_saved" in e]
    assert len(shared) == (0 if prefix_sharing == "off" else len(logged))
    for entry in shared:
        assert 0.3 < entry["prefix_sharing/tokens_saved"] < 1
        assert entry["prefix_sharing/plain_batches"] == 0


def test_num_tokens_are_those_of_trl(tmp_path, saved, rows):
    one_side = rows.map(
        lambda row: {
            "prompt": row["prompt_0"],
            "chosen": row["chosen_0"],
            "rejected": row["rejected_0"],
        },
        remove_columns=[name for name in rows.column_names if name != "images"],
    )
    found = []
    for trainer, kind in ((trl.DPOTrainer, trl.DPOConfig), (PrefixDPOTrainer, PrefixDPOConfig)):
        args = config(tmp_path, kind, max_length=None, train_sampling_strategy="sequential")
        run = trainer(saved, args=args, train_dataset=one_side)
        run.train()
        found.append([entry["num_tokens"] for entry in run.state.log_history if "loss" in entry])
    assert found[0] == found[1]


def order_of(trainer):
    """Row numbers as the training loader deals them."""
    trainer._signature_columns = ["item_id"]
    trainer.data_collator = lambda rows: {"rows": [row["item_id"] for row in rows]}
    return [batch["rows"] for batch in trainer.get_train_dataloader()]


@pytest.mark.parametrize("prefix_sharing", ["row", "image"])
def test_sequential_sampling_keeps_the_order_of_the_rows(tmp_path, saved, rows, prefix_sharing):
    args = config(tmp_path, prefix_sharing=prefix_sharing, train_sampling_strategy="sequential")
    found = order_of(NCAPrivTrainer(saved, args=args, train_dataset=rows))
    assert found == [["item-0", "item-1"], ["item-2", "item-3"], ["item-4", "item-5"]]


@pytest.mark.parametrize("prefix_sharing", ["row", "image"])
def test_drop_last_drops_a_smaller_last_batch_and_groups_have_none(
    tmp_path, saved, rows, prefix_sharing
):
    args = config(
        tmp_path,
        prefix_sharing=prefix_sharing,
        dataloader_drop_last=True,
        per_device_train_batch_size=4,
        train_sampling_strategy="sequential",
    )
    found = [
        row
        for batch in order_of(NCAPrivTrainer(saved, args=args, train_dataset=rows))
        for row in batch
    ]
    assert len(found) == (4 if prefix_sharing == "row" else 6)


@pytest.mark.parametrize("prefix_sharing", ["row", "image"])
@pytest.mark.parametrize("strategy", ["group_by_length", "batch_rebalance"])
def test_lengths_are_counted_for_the_samplers_that_want_them(
    tmp_path, saved, rows, prefix_sharing, strategy
):
    args = config(tmp_path, prefix_sharing=prefix_sharing, train_sampling_strategy=strategy)
    trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows, eval_dataset=rows)
    assert len(set(trainer.train_dataset["length"])) > 1
    trainer.train()
    assert len(losses(trainer)) == 2
    assert trainer.evaluate()["eval_loss"] > 0


@pytest.mark.parametrize("precompute", [False, True])
def test_predict_after_training_uses_the_reference(tmp_path, saved, rows, precompute):
    trainer = NCAPrivTrainer(
        saved,
        args=config(tmp_path, precompute_ref_log_probs=precompute, learning_rate=1e-2, beta=0.5),
        train_dataset=rows,
        eval_dataset={"first": rows.select([0, 1]), "all": rows},
    )
    trainer.train()
    own = trainer.evaluate()
    predicted = trainer.predict(rows)
    assert predicted.metrics["test_loss"] == pytest.approx(own["eval_all_loss"], abs=1e-5)
    rewards = torch.tensor(predicted.predictions).view(-1, 2, 2)
    assert (rewards[..., 0] - rewards[..., 1]).mean() > 0
    assert trainer.evaluate(rows.select([1, 0]))["eval_loss"] == pytest.approx(
        own["eval_first_loss"], abs=1e-5
    )


def test_rows_that_come_after_the_reference_is_gone_are_refused(tmp_path, saved, rows):
    args = config(tmp_path, precompute_ref_log_probs=True)
    trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows.select([0, 1]))
    assert trainer.evaluate(rows.select([2]))["eval_loss"] > 0  # still the reference
    trainer.train()
    with pytest.raises(SpyBenchError, match=r"1 evaluation rows have no reference.*eval_dataset"):
        trainer.predict(rows.select([2, 3, 0]).select([1, 2]))


@pytest.mark.parametrize("precompute", [False, True])
def test_a_model_built_in_memory_says_what_to_do_and_that_works(tmp_path, rows, precompute):
    model, processor = tiny_models.build("qwen2_vl")
    args = config(tmp_path, precompute_ref_log_probs=precompute)
    arguments = {"args": args, "train_dataset": rows, "processing_class": processor}
    if not precompute:
        with pytest.raises(SpyBenchError, match=r"ref_model=copy\.deepcopy\(model\)"):
            NCAPrivTrainer(model, **arguments)
        arguments["ref_model"] = copy.deepcopy(model)
    trainer = NCAPrivTrainer(model, **arguments)
    trainer.train()
    assert losses(trainer)[1] < losses(trainer)[0]
    assert (trainer.ref_model is None) == precompute


@pytest.mark.parametrize("adapters", ["prompt", "prefix"])
def test_tokens_before_every_sequence_are_refused(tmp_path, saved, rows, adapters):
    kind = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[adapters]
    with pytest.raises(SpyBenchError, match="Use LoRA"):
        NCAPrivTrainer(
            saved,
            args=config(tmp_path),
            train_dataset=rows,
            peft_config=kind(task_type="CAUSAL_LM", num_virtual_tokens=2),
        )


def test_another_trl_is_warned_about_and_not_refused(monkeypatch, caplog):
    monkeypatch.setattr(tested, "version", lambda package: "1.99.0")
    monkeypatch.setitem(tested.OVERRIDDEN, "prediction_step", ("model", "batch"))
    tested.warn_of_untested_trl.cache_clear()
    with caplog.at_level(logging.WARNING):
        tested.warn_of_untested_trl()
        tested.warn_of_untested_trl()
    tested.warn_of_untested_trl.cache_clear()
    assert [record.message.split(";")[0].split(" takes")[0] for record in caplog.records] == [
        "TRL 1.99.0 is installed",
        "DPOTrainer.prediction_step of TRL 1.99.0",
    ]


def test_the_installed_trl_is_a_tested_one(caplog):
    tested.warn_of_untested_trl.cache_clear()
    with caplog.at_level(logging.WARNING):
        tested.warn_of_untested_trl()
    assert not caplog.records


def test_samples_per_second_count_the_rows_of_grouped_batches(tmp_path, saved, rows):
    args = config(tmp_path, prefix_sharing="image", max_batch_tokens=400, rows_per_step=3)
    trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    assert args.gradient_accumulation_steps > 1
    speed = trainer.train().metrics
    # Two steps of three rows; batches have no fixed number of rows.
    assert speed["train_samples_per_second"] * speed["train_runtime"] == pytest.approx(6, rel=0.01)


def test_rows_that_cannot_be_trained_on_are_refused_by_name(tmp_path, saved, rows):
    none, stream = rows.select([]), rows.to_iterable_dataset().filter(lambda row: False)
    for dataset, problem in [
        (none, "train_dataset has no rows"),
        (stream, "train_dataset has no rows"),
        (list(rows), "train_dataset is a list. .*from_list"),
    ]:
        with pytest.raises(SpyBenchError, match=problem):
            NCAPrivTrainer(saved, args=config(tmp_path), train_dataset=dataset)
    with pytest.raises(SpyBenchError, match=r"eval_dataset\['b'\] has no rows"):
        NCAPrivTrainer(
            saved,
            args=config(tmp_path),
            train_dataset=rows,
            eval_dataset={"a": rows, "b": none},
        )
