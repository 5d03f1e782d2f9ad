"""The loss and its gradients equal those of separate passes up to float64 rounding."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")


from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import naive_loss, naive_table, paired_rows  # noqa: E402
from trl_ext.nca_priv.nca_priv_trainer import SIDES, nca_priv_loss  # noqa: E402
from trl_ext.prefix_sharing.check import load_layout  # noqa: E402
from trl_ext.prefix_sharing.collator import PreferenceCollator  # noqa: E402
from trl_ext.prefix_sharing.encoding import SequenceEncoder  # noqa: E402

BETA = 0.3
GRADIENT_ERROR = {"gemma3": 1e-6}
"""Relative to the norm of all gradients; Gemma 3 normalizes in float32 for any weights."""


def mixed_rows():
    """Rows with one picture, two pictures and none in one batch."""
    none = {**paired_rows(1, images=0)[0], "images": []}
    return [*paired_rows(2), *paired_rows(1, images=2), none]


def log_prob_table(layout, model, processor, rows):
    batch = PreferenceCollator(SequenceEncoder(processor), SIDES)(rows)
    return layout(model, batch["sequences"]).view(-1, 2, 2)


def loss_and_gradients(table, reference, model, loss):
    model.zero_grad()
    value = loss(table, reference)
    value.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return value.item(), gradients


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
@pytest.mark.parametrize("prefix_sharing", ["off", "auto"])
def test_loss_and_gradients_equal_four_separate_passes(family, prefix_sharing):
    model, processor = tiny_models.build(family, dtype=torch.float64)
    reference_model, _ = tiny_models.build(family, dtype=torch.float64, seed=1)
    rows = paired_rows(3)
    layout = load_layout(prefix_sharing)
    with torch.no_grad():
        naive_reference = naive_table(reference_model, processor, rows)
        reference = log_prob_table(layout, reference_model, processor, rows)
    expected, expected_gradients = loss_and_gradients(
        naive_table(model, processor, rows),
        naive_reference,
        model,
        lambda table, ref: naive_loss(table, ref, BETA),
    )
    loss, gradients = loss_and_gradients(
        log_prob_table(layout, model, processor, rows),
        reference,
        model,
        lambda table, ref: nca_priv_loss(BETA * (table - ref)).mean(),
    )
    assert loss == pytest.approx(expected, abs=1e-9)
    assert gradients.keys() == expected_gradients.keys()
    flat, expected_flat = (
        torch.cat([each[name].flatten() for name in expected_gradients])
        for each in (gradients, expected_gradients)
    )
    allowed = GRADIENT_ERROR.get(family, 1e-7)
    assert (flat - expected_flat).norm() <= allowed * expected_flat.norm()
    for name, gradient in expected_gradients.items():
        # a key bias has a gradient of rounding noise around 0
        error = (gradients[name] - gradient).norm()
        assert error <= 10 * allowed * gradient.norm() + 1e-9 * expected_flat.norm(), name


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_a_batch_may_mix_rows_with_one_two_and_no_pictures(family):
    model, processor = tiny_models.build(family, dtype=torch.float64)
    rows = mixed_rows()
    with torch.no_grad():
        table = log_prob_table(load_layout("off"), model, processor, rows)
        expected = naive_table(model, processor, rows)
    torch.testing.assert_close(table, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("prefix_sharing", ["off", "auto"])
def test_neither_batch_order_nor_padding_matters(prefix_sharing):
    model, processor = tiny_models.build("qwen2_vl", dtype=torch.float64)
    layout = load_layout(prefix_sharing)
    rows = paired_rows(4)
    with torch.no_grad():
        together = log_prob_table(layout, model, processor, rows)
        reversed_rows = log_prob_table(layout, model, processor, rows[::-1])
        alone = torch.cat([log_prob_table(layout, model, processor, [row]) for row in rows])
    torch.testing.assert_close(reversed_rows.flip(0), together, rtol=0, atol=1e-10)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-10)


def test_log_probabilities_of_a_bfloat16_model_are_float32():
    model, processor = tiny_models.build("qwen2_vl", dtype=torch.bfloat16)
    table = log_prob_table(load_layout("off"), model, processor, paired_rows(1))
    assert table.dtype == torch.float32
