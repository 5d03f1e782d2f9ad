"""The losses and metrics of both trainers on given log-probabilities."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from accelerate import Accelerator  # noqa: E402

from trl_ext import NCAPrivTrainer, PrefixDPOTrainer  # noqa: E402
from trl_ext.nca_priv.nca_priv_trainer import nca_priv_loss  # noqa: E402
from trl_ext.prefix_sharing.recorded import RecordedMetrics  # noqa: E402


def logsigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def computed(kind, logps, ref_logps=None, beta=1.0, loss_type="nca_priv"):
    """(loss, metrics) of a trainer whose model gives these log-probabilities."""
    trainer = kind.__new__(kind)
    trainer.model = torch.nn.Linear(1, 1)
    trainer.accelerator = Accelerator(cpu=True)
    trainer.beta, trainer.loss_types, trainer.batches = beta, [loss_type], None
    trainer._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    trainer.completion_logps = lambda model, inputs: logps
    trainer.layout, trainer._recorded = None, RecordedMetrics()
    ref_logps = torch.zeros_like(logps) if ref_logps is None else ref_logps
    chosen, rejected = ref_logps.unbind(2)
    inputs = {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    trainer._recorded.count = lambda *of_batch: None
    loss = trainer.compute_loss(trainer.model, inputs)
    trainer._recorded.share(trainer)
    return loss, trainer._metrics["train"]


def test_loss_is_the_closed_form_of_the_protocol():
    ratios = [[[0.7, -1.1], [2.0, 0.3]], [[-4.0, 5.0], [0.0, 0.0]]]
    beta = 0.25
    expected = [
        sum(
            -logsigmoid(beta * chosen)
            - 0.5 * logsigmoid(-beta * chosen)
            - 0.5 * logsigmoid(-beta * rejected)
            for chosen, rejected in row
        )
        for row in ratios
    ]
    logps = torch.tensor(ratios, dtype=torch.float64)
    assert nca_priv_loss(beta * logps).tolist() == pytest.approx(expected, abs=1e-12)
    loss, _ = computed(NCAPrivTrainer, logps, beta=beta)
    assert loss.item() == pytest.approx(sum(expected) / 2, abs=1e-12)


def test_loss_is_four_log_two_where_policy_and_reference_agree():
    assert nca_priv_loss(torch.zeros(3, 2, 2)).tolist() == pytest.approx([4 * math.log(2)] * 3)


def test_loss_does_not_overflow_far_from_the_reference():
    rewards = torch.tensor([[[-1e4, 1e4], [1e4, -1e4]]], requires_grad=True)
    loss = nca_priv_loss(rewards)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(rewards.grad).all()


def test_gradient_at_the_reference_raises_chosen_and_lowers_rejected_answers():
    ratios = torch.zeros(1, 2, 2, dtype=torch.float64, requires_grad=True)
    nca_priv_loss(0.5 * ratios).sum().backward()
    chosen, rejected = ratios.grad.unbind(2)
    assert (chosen == -0.5 * 0.25).all()
    assert (rejected == 0.5 * 0.25).all()


def test_metrics_of_each_side_and_of_both():
    logps = torch.tensor([[[-1.0, -2.0], [-3.0, -4.0]], [[-1.0, -2.0], [-4.0, -3.0]]])
    _, metrics = computed(NCAPrivTrainer, logps, torch.full_like(logps, -2.0), beta=0.5)
    assert metrics["logps/rejected_1"] == [-4.0, -3.0]
    assert metrics["rewards/chosen_0"] == [0.5, 0.5]
    assert metrics["rewards/margins_1"] == [0.5, -0.5]
    assert metrics["rewards/accuracies_0"] == [1.0, 1.0]
    assert metrics["rewards/accuracies_1"] == [1.0, 0.0]
    assert metrics["rewards/accuracies"] == [1.0, 0.5]
    assert metrics["rewards/ics"] == [1.0, 0.0]
    assert metrics["rewards/margins"] == [0.5, 0.0]


def test_equal_rewards_are_not_right():
    _, metrics = computed(NCAPrivTrainer, torch.zeros(1, 2, 2))
    assert metrics["rewards/ics"] == [0.0]


def test_rows_of_one_side_have_the_metrics_of_dpo():
    logps = torch.tensor([[[-1.0, -2.0]], [[-4.0, -3.0]]])
    _, metrics = computed(PrefixDPOTrainer, logps, loss_type="sigmoid")
    assert set(metrics) - {"num_tokens"} == {
        f"{kind}/{what}"
        for kind, whats in {
            "rewards": ("chosen", "rejected", "margins", "accuracies"),
            "logps": ("chosen", "rejected"),
        }.items()
        for what in whats
    }
    assert metrics["rewards/margins"] == [1.0, -1.0]
    assert metrics["rewards/accuracies"] == [1.0, 0.0]


def test_dpo_and_nca_losses_are_their_closed_forms():
    logps = torch.tensor([[[0.5, -1.5]]], dtype=torch.float64)
    loss, _ = computed(PrefixDPOTrainer, logps, beta=0.4, loss_type="sigmoid")
    assert loss.item() == pytest.approx(-logsigmoid(0.4 * 2.0), abs=1e-12)
    loss, _ = computed(PrefixDPOTrainer, logps, beta=0.4, loss_type="nca_pair")
    expected = -logsigmoid(0.2) - 0.5 * (logsigmoid(-0.2) + logsigmoid(0.6))
    assert loss.item() == pytest.approx(expected, abs=1e-12)
