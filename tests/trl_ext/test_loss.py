"""The NCA-P loss on given log-ratios."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from trl_ext.loss import PAIRED, SINGLE, columns, dpo_loss, nca_loss, row_metrics  # noqa: E402


def logsigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


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
    loss = nca_loss(torch.tensor(ratios, dtype=torch.float64), beta)
    assert loss.tolist() == pytest.approx(expected, abs=1e-12)


def test_loss_is_four_log_two_where_policy_and_reference_agree():
    loss = nca_loss(torch.zeros(3, 2, 2), beta=0.01)
    assert loss.tolist() == pytest.approx([4 * math.log(2)] * 3)


def test_loss_does_not_overflow_far_from_the_reference():
    ratios = torch.tensor([[[-1e4, 1e4], [1e4, -1e4]]], requires_grad=True)
    loss = nca_loss(ratios, beta=1.0)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(ratios.grad).all()


def test_gradient_at_the_reference_raises_chosen_and_lowers_rejected_answers():
    ratios = torch.zeros(1, 2, 2, dtype=torch.float64, requires_grad=True)
    nca_loss(ratios, beta=0.5).sum().backward()
    chosen, rejected = ratios.grad.unbind(2)
    assert (chosen == -0.5 * 0.25).all()
    assert (rejected == 0.5 * 0.25).all()


def test_order_of_a_row():
    assert columns(PAIRED) == ["chosen_0", "rejected_0", "chosen_1", "rejected_1"]
    assert columns(SINGLE) == ["chosen", "rejected"]


def test_metrics_of_each_side_and_of_both():
    log_probs = torch.tensor([[[-1.0, -2.0], [-3.0, -4.0]], [[-1.0, -2.0], [-4.0, -3.0]]])
    metrics = row_metrics(log_probs, torch.full_like(log_probs, -2.0), beta=0.5, sides=PAIRED)
    assert metrics["logps/rejected_1"].tolist() == [-4.0, -3.0]
    assert metrics["rewards/chosen_0"].tolist() == [0.5, 0.5]
    assert metrics["rewards/margins_1"].tolist() == [0.5, -0.5]
    assert metrics["rewards/accuracies_0"].tolist() == [1.0, 1.0]
    assert metrics["rewards/accuracies_1"].tolist() == [1.0, 0.0]
    assert metrics["rewards/accuracies"].tolist() == [1.0, 0.5]
    assert metrics["rewards/ics"].tolist() == [1.0, 0.0]
    assert metrics["rewards/margins"].tolist() == [0.5, 0.0]


def test_equal_rewards_are_not_right():
    log_probs = torch.zeros(1, 2, 2)
    assert row_metrics(log_probs, log_probs, 1.0, PAIRED)["rewards/ics"].tolist() == [0.0]


def test_rows_of_one_side_have_the_metrics_of_dpo():
    log_probs = torch.tensor([[[-1.0, -2.0]], [[-4.0, -3.0]]])
    metrics = row_metrics(log_probs, torch.zeros_like(log_probs), 1.0, SINGLE)
    assert set(metrics) == {
        f"{kind}/{what}"
        for kind, whats in {
            "rewards": ("chosen", "rejected", "margins", "accuracies"),
            "logps": ("chosen", "rejected"),
        }.items()
        for what in whats
    }
    assert metrics["rewards/margins"].tolist() == [1.0, -1.0]
    assert metrics["rewards/accuracies"].tolist() == [1.0, 0.0]


def test_dpo_loss_is_its_closed_form():
    loss = dpo_loss(torch.tensor([[[0.5, -1.5]]], dtype=torch.float64), beta=0.4)
    assert loss.tolist() == pytest.approx([-logsigmoid(0.4 * 2.0)], abs=1e-12)
