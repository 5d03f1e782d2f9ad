"""DPO and NCA with shared prefixes give the numbers of TRL's own trainer."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")

from spy_plugin.errors import SpyBenchError  # noqa: E402
from tests.trl_ext.rows import paired_rows  # noqa: E402
from tests.trl_ext.trainers import losses  # noqa: E402
from trl_ext import NCAPrivConfig, NCAPrivTrainer, PrefixDPOConfig, PrefixDPOTrainer  # noqa: E402

SHARED = {
    "per_device_train_batch_size": 2,
    "max_steps": 3,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "bf16": False,
    "disable_tqdm": True,
    "max_length": None,
    "beta": 0.3,
}


@pytest.fixture(scope="module")
def rows():
    """Preference rows made of one side of each NCA-P row."""
    return datasets.Dataset.from_list(
        [
            {
                "images": row["images"],
                "prompt": row["prompt_0"],
                "chosen": row["chosen_0"],
                "rejected": row["rejected_0"],
                "image_id": row["image_id"],
            }
            for row in paired_rows(6)
        ]
    )


@pytest.mark.parametrize("loss", ["sigmoid", "nca_pair"])
@pytest.mark.parametrize("prefix_sharing", ["off", "auto"])
def test_losses_and_metrics_are_those_of_trl(tmp_path, saved, rows, loss, prefix_sharing):
    theirs = trl.DPOTrainer(
        saved,
        args=trl.DPOConfig(str(tmp_path), loss_type=[loss], **SHARED),
        train_dataset=rows,
    )
    theirs.train()
    ours = PrefixDPOTrainer(
        saved,
        args=PrefixDPOConfig(
            str(tmp_path), loss_type=[loss], prefix_sharing=prefix_sharing, **SHARED
        ),
        train_dataset=rows,
    )
    ours.train()
    assert losses(ours) == pytest.approx(losses(theirs), abs=1e-4)
    assert losses(ours)[0] != pytest.approx(losses(ours)[-1], abs=1e-3)
    for mine, other in zip(ours.state.log_history[:3], theirs.state.log_history[:3], strict=True):
        for name in mine.keys() & other.keys():
            if name.startswith(("rewards/", "logps/")):
                assert mine[name] == pytest.approx(other[name], rel=1e-3, abs=5e-3), name
        assert {"rewards/margins", "rewards/accuracies", "logps/chosen"} <= mine.keys()
        assert "rewards/ics" not in mine


def test_grouped_batches_with_a_precomputed_reference(tmp_path, saved, rows):
    runs = []
    for precompute in (False, True):
        args = PrefixDPOConfig(
            str(tmp_path),
            prefix_sharing="image",
            max_batch_tokens=200,
            precompute_ref_log_probs=precompute,
            **SHARED,
        )
        trainer = PrefixDPOTrainer(saved, args=args, train_dataset=rows)
        trainer.train()
        runs.append(losses(trainer))
    assert runs[1] == pytest.approx(runs[0], abs=1e-5)


@pytest.mark.parametrize("wrong", [["nca_priv"], ["ipo"], ["sigmoid", "nca_pair"]])
def test_other_losses_are_refused(tmp_path, wrong):
    with pytest.raises(SpyBenchError, match="sigmoid, nca_pair"):
        PrefixDPOConfig(str(tmp_path), loss_type=wrong, bf16=False)


def test_rows_of_another_kind_are_refused(tmp_path, saved, rows):
    args = NCAPrivConfig(str(tmp_path), report_to="none", bf16=False, max_steps=1)
    with pytest.raises(SpyBenchError, match=r"no prompt_0, chosen_0.*load_spy_tune"):
        NCAPrivTrainer(saved, args=args, train_dataset=rows)
