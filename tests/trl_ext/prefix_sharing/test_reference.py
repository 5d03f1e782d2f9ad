"""The reference: disabled adapters, a frozen adapter, or a cache on disk."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")

from spy_plugin.errors import SpyBenchError  # noqa: E402
from spy_plugin.files.writing import FileLock  # noqa: E402
from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import naive_table, paired_rows  # noqa: E402
from tests.trl_ext.trainers import changed, config, losses, weights  # noqa: E402
from trl_ext import NCAPrivTrainer  # noqa: E402
from trl_ext.prefix_sharing.row_cache import RowCache, row_keys  # noqa: E402

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.1}


@pytest.fixture
def stored_rows(tmp_path):
    """Rows on disk, so that cached columns persist."""
    datasets.Dataset.from_list(paired_rows(4)).save_to_disk(tmp_path / "rows")
    return datasets.load_from_disk(tmp_path / "rows")


def reference_table(trainer):
    batch = trainer.data_collator([dict(row) for row in trainer.train_dataset])
    return torch.stack(trainer.compute_ref_log_probs(trainer.model, batch), dim=2)


def test_lora_trains_adapters_and_its_reference_is_the_base(tmp_path, saved, stored_rows):
    base, processor = tiny_models.build("qwen2_vl")
    rows = [dict(row) for row in stored_rows]
    with torch.no_grad():
        expected = naive_table(base, processor, rows)
    trainer = NCAPrivTrainer(
        saved,
        args=config(tmp_path, max_steps=4, learning_rate=1e-2),
        train_dataset=stored_rows,
        peft_config=peft.LoraConfig(**LORA),
    )
    before = weights(trainer.model)
    trainer.train()
    assert trainer.ref_model is None
    after = changed(trainer.model, before)
    assert after
    assert all("lora_" in name for name in after)
    torch.testing.assert_close(reference_table(trainer), expected, rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        policy = trainer.layout(trainer.model, trainer.data_collator(rows)["sequences"]).view(
            -1, 2, 2
        )
    assert (policy - expected).abs().max() > 0.05


def test_an_adapter_to_train_further_has_a_frozen_copy_as_reference(tmp_path, stored_rows):
    model, processor = tiny_models.build("qwen2_vl")
    model = peft.get_peft_model(model, peft.LoraConfig(**{**LORA, "init_lora_weights": False}))
    rows = [dict(row) for row in stored_rows]
    with torch.no_grad():
        expected = naive_table(model.eval(), processor, rows)
    trainer = NCAPrivTrainer(
        model,
        args=config(tmp_path, learning_rate=1e-2),
        train_dataset=stored_rows,
        processing_class=processor,
    )
    trainer.train()
    torch.testing.assert_close(reference_table(trainer), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("adapters", [False, True])
def test_precomputed_reference_gives_the_same_run(tmp_path, saved, stored_rows, adapters):
    runs = []
    for precompute in (False, True):
        transformers.set_seed(0)  # TRL seeds the weights of adapters since 1.14
        trainer = NCAPrivTrainer(
            saved,
            args=config(tmp_path, precompute_ref_log_probs=precompute, max_steps=3),
            train_dataset=stored_rows,
            eval_dataset=stored_rows,
            peft_config=peft.LoraConfig(**LORA) if adapters else None,
        )
        trainer.train()
        runs.append([*losses(trainer), trainer.evaluate()["eval_loss"]])
        assert (trainer.ref_model is None) == (precompute or adapters)
    assert runs[1] == pytest.approx(runs[0], abs=1e-5)


@pytest.mark.parametrize(
    ("max_steps", "also"), [(1, ", also those that max_steps leaves out"), (-1, "")]
)
def test_the_start_says_how_many_rows_the_reference_takes(
    tmp_path, saved, stored_rows, caplog, max_steps, also
):
    caplog.set_level("INFO", "trl_ext")
    args = config(tmp_path, precompute_ref_log_probs=True, max_steps=max_steps)
    NCAPrivTrainer(saved, args=args, train_dataset=stored_rows)
    rows = f"{len(stored_rows)} training rows"
    assert f"the reference pass takes {rows}{also}; --max_rows limits them" in caplog.messages


def test_precomputed_reference_is_cached_on_disk(tmp_path, saved, stored_rows, monkeypatch):
    passes = []
    compute = NCAPrivTrainer.compute_ref_log_probs
    monkeypatch.setattr(
        NCAPrivTrainer,
        "compute_ref_log_probs",
        lambda self, model, inputs: passes.append(1) or compute(self, model, inputs),
    )

    def build(**options):
        passes.clear()
        trainer = NCAPrivTrainer(
            saved,
            args=config(tmp_path, precompute_ref_log_probs=True, **options),
            train_dataset=stored_rows,
        )
        return trainer, len(passes)

    trainer, computed = build()
    assert computed == 2
    row = trainer.train_dataset[0]
    assert len(row["ref_chosen_logps"]) == len(row["ref_rejected_logps"]) == 2
    assert build()[1] == 0
    # What changes the sequences changes the log-probabilities, and must miss the cache.
    assert build(extra_end_token=True)[1] == 2
    assert build(max_length=40)[1] == 2
    assert build(extra_end_token=True)[1] == 0
    # A launcher's environment may set the precision, whatever the arguments say.
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert build()[1] == 2
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert build()[1] == 0


def test_the_cache_outlives_the_process_for_rows_in_memory(tmp_path, saved, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = datasets.Dataset.from_list(paired_rows(2))
    trainer = NCAPrivTrainer(
        saved, args=config(tmp_path, precompute_ref_log_probs=True), train_dataset=rows
    )
    [file] = (tmp_path / "cache" / "spy_bench").glob("reference-*.jsonl")
    assert len(file.read_text(encoding="utf-8").splitlines()) == len(rows)
    assert trainer.train_dataset.column_names[:-2] == rows.column_names


def test_a_picture_that_changed_under_its_name_gets_its_own_reference(tmp_path, saved):
    file = tmp_path / "a.png"
    rows = datasets.Dataset.from_list(
        [{**row, "images": [str(file)]} for row in paired_rows(2)]
    ).cast_column("images", datasets.List(datasets.Image()))

    def references():
        args = config(tmp_path, precompute_ref_log_probs=True)
        dataset = NCAPrivTrainer(saved, args=args, train_dataset=rows).train_dataset
        return torch.tensor(dataset["ref_chosen_logps"])

    tiny_models.picture(1).save(file)
    first = references()
    assert torch.equal(references(), first)
    tiny_models.picture(2).save(file)
    second = references()
    assert (first - second).abs().max() > 1e-2
    file.unlink()
    with pytest.raises(SpyBenchError, match=r"item-0.*a\.png cannot be opened"):
        references()
    with pytest.raises(SpyBenchError, match=r"row 0.*a\.png cannot be read"):
        row_keys(rows)


def test_an_interrupted_reference_pass_resumes(tmp_path, saved, stored_rows, monkeypatch):
    compute = NCAPrivTrainer.compute_ref_log_probs
    monkeypatch.setattr("trl_ext.prefix_sharing.reference.STORED_TOGETHER", 1)
    done = []

    def once(self, model, inputs):
        if done:
            raise KeyboardInterrupt
        done.append(len(inputs["input_ids"]))
        return compute(self, model, inputs)

    args = config(tmp_path, precompute_ref_log_probs=True, precompute_ref_batch_size=1)
    monkeypatch.setattr(NCAPrivTrainer, "compute_ref_log_probs", once)
    with pytest.raises(KeyboardInterrupt):
        NCAPrivTrainer(saved, args=args, train_dataset=stored_rows)
    rest = []
    monkeypatch.setattr(
        NCAPrivTrainer,
        "compute_ref_log_probs",
        lambda *given: rest.append(len(given[2]["input_ids"])) or compute(*given),
    )
    trainer = NCAPrivTrainer(saved, args=args, train_dataset=stored_rows)
    assert sum(done) + sum(rest) == len(stored_rows)
    batch = trainer.data_collator([dict(row) for row in stored_rows])
    fresh = torch.stack(compute(trainer, trainer.model, batch), dim=2)
    table = [trainer.train_dataset[f"ref_{choice}_logps"] for choice in ("chosen", "rejected")]
    torch.testing.assert_close(torch.tensor(table).permute(1, 2, 0), fresh, rtol=1e-4, atol=1e-4)


def test_a_set_handed_to_evaluate_gets_its_reference_too(tmp_path, saved, stored_rows):
    trainer = NCAPrivTrainer(
        saved,
        args=config(tmp_path, precompute_ref_log_probs=True),
        train_dataset=stored_rows,
        peft_config=peft.LoraConfig(**LORA),
    )
    trainer.train()
    metrics = trainer.evaluate(stored_rows.select([1, 2]))
    assert metrics["eval_loss"] < losses(trainer)[0]


def test_a_cache_that_another_run_writes_does_not_end_this_one(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    cache = RowCache("reference", "of-a-model")
    cache.path.parent.mkdir(parents=True)
    with FileLock(cache.path):
        cache.add({"first": [1.0]})
    assert cache.read() == {"first": [1.0]}
    cache.add({"second": [2.0]})
    assert RowCache("reference", "of-a-model").read() == {"second": [2.0]}
