"""Training on batches grouped by picture, and with a frozen vision tower."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
pytest.importorskip("trl")

from spy_plugin.errors import SpyBenchError  # noqa: E402
from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import paired_rows  # noqa: E402
from tests.trl_ext.trainers import changed, config, losses, weights  # noqa: E402
from trl_ext import NCAPrivTrainer  # noqa: E402
from trl_ext.prefix_sharing.dataset import picture_keys  # noqa: E402
from trl_ext.prefix_sharing.packing import pack  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    """Five pictures with 2, 2, 2, 1 and 1 rows, shuffled."""
    kept = [row for index, row in enumerate(paired_rows(10)) if index not in (7, 9)]
    return datasets.Dataset.from_list(kept).shuffle(seed=1)


def test_rows_of_a_picture_share_a_batch_and_every_row_comes_once(tmp_path, saved, rows):
    trainer = NCAPrivTrainer(
        saved,
        args=config(tmp_path, prefix_sharing="image", per_device_train_batch_size=3),
        train_dataset=rows,
    )
    loader = trainer.get_train_dataloader()
    seen = []
    for batch in loader:
        sequences = batch["sequences"]
        assert len(sequences.vision) < len(sequences) / 4 or len(sequences) == 4
        seen += [tuple(ids.tolist()) for ids in sequences.input_ids[::4]]
    everything = trainer.data_collator(list(rows))["sequences"].input_ids[::4]
    assert sorted(seen) == sorted(tuple(ids.tolist()) for ids in everything)


def test_gradients_of_an_epoch_are_those_of_all_rows(tmp_path, saved, rows):
    """The gradient over all batches of an epoch, each divided by the mean number of rows."""
    trainer = NCAPrivTrainer(
        saved, args=config(tmp_path, prefix_sharing="image"), train_dataset=rows
    )
    loader = trainer.get_train_dataloader()
    model = trainer.model.train()
    total = sum(trainer.compute_loss(model, batch) for batch in loader) / len(loader)
    trainer.batches = None
    whole = trainer.compute_loss(model, trainer.data_collator(list(rows)))
    ours, theirs = (
        torch.autograd.grad(loss, [model.get_input_embeddings().weight])[0]
        for loss in (total, whole)
    )
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def with_system_prompts(row, index):
    system = {"role": "system", "content": [{"type": "text", "text": f"Be {index + 2}."}]}
    return {f"prompt_{side}": [system, *row[f"prompt_{side}"]] for side in "01"}


@pytest.mark.parametrize("system", [False, True])
def test_a_token_limit_holds(tmp_path, saved, rows, system):
    """Rows that differ before their pictures share none of a picture's tokens."""
    limit = 330
    if system:
        limit = 280
        rows = rows.map(with_system_prompts, with_indices=True)
    args = config(tmp_path, prefix_sharing="image", max_batch_tokens=limit, rows_per_step=6)
    trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    tokens = [
        pack(trainer.model, batch["sequences"]).tokens for batch in trainer.get_train_dataloader()
    ]
    assert len(tokens) > 1
    assert limit / 2 < max(tokens) <= limit
    args = config(tmp_path, prefix_sharing="image", max_batch_tokens=50)
    with pytest.raises(SpyBenchError, match="raise the budget"):
        NCAPrivTrainer(saved, args=args, train_dataset=rows)


@pytest.mark.parametrize("steps", [3, 6])
def test_a_resumed_run_meets_the_same_batches(tmp_path, saved, rows, steps):
    """Resumes within the first and the second epoch of four batches."""
    args = config(
        tmp_path,
        prefix_sharing="image",
        max_steps=7,
        save_strategy="steps",
        save_steps=steps,
        lr_scheduler_type="constant",
    )
    whole = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    whole.train()
    resumed = NCAPrivTrainer(saved, args=args, train_dataset=rows)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{steps}"))
    assert losses(resumed)[steps:] == pytest.approx(losses(whole)[steps:], abs=1e-5)


def test_grouped_batches_work_with_a_precomputed_reference(tmp_path, saved, rows):
    runs = []
    for precompute in (False, True):
        args = config(
            tmp_path, prefix_sharing="image", precompute_ref_log_probs=precompute, max_steps=3
        )
        trainer = NCAPrivTrainer(saved, args=args, train_dataset=rows)
        trainer.train()
        runs.append(losses(trainer))
    assert runs[1] == pytest.approx(runs[0], abs=1e-5)


def test_pictures_are_known_by_their_column_or_their_file(rows, tmp_path):
    assert picture_keys(rows) == rows["image_id"]
    files = picture_keys(rows.remove_columns("image_id"))
    pairs = set(zip(files, rows["image_id"], strict=True))
    assert len(pairs) == len(set(files)) == len(set(rows["image_id"])) == 5
    with pytest.raises(SpyBenchError, match="neither image_id nor images"):
        picture_keys(rows.remove_columns(["image_id", "images"]))


def test_a_stream_cannot_be_grouped(tmp_path, saved, rows):
    args = config(tmp_path, prefix_sharing="image")
    with pytest.raises(SpyBenchError, match="map-style"):
        NCAPrivTrainer(saved, args=args, train_dataset=rows.to_iterable_dataset())


@pytest.mark.parametrize("family", ["qwen2_vl", "llava_onevision"])
def test_a_frozen_vision_tower_stays_and_its_features_are_cached(tmp_path, rows, family):
    model = str(tmp_path / "model")
    tiny_models.build(family, directory=model)
    runs = []
    for cache in (None, str(tmp_path / "features")):
        args = config(
            tmp_path / "run",
            freeze_vision=True,
            vision_cache=cache,
            max_steps=4,
            learning_rate=1e-2,
            beta=0.5,
        )
        trainer = NCAPrivTrainer(model, args=args, train_dataset=rows)
        before = weights(trainer.model)
        trainer.train()
        after = changed(trainer.model, before)
        assert after
        assert all("language_model" in name or "lm_head" in name for name in after)
        runs.append(losses(trainer))
    assert runs[1] == pytest.approx(runs[0], rel=1e-4)
    assert runs[0][-1] != pytest.approx(runs[0][0], rel=0.01)
    # Policy and reference share the vision tower, so there is one file per picture.
    assert len(list((tmp_path / "features").rglob("*.pt"))) == 5
