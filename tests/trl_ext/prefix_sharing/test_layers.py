"""Compiled layers, and layers that keep their activations."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.token_batches import numbers, sequences_of  # noqa: E402
from trl_ext.prefix_sharing.layers import compile_layers, keep_activations  # noqa: E402
from trl_ext.prefix_sharing.log_probs import tree_log_probs  # noqa: E402

BRANCHES = [([0], [1, 2]), ([1], [1])]


def _checkpointed(model):
    return [
        name
        for name, module in model.named_modules()
        if getattr(module, "gradient_checkpointing", False) and name.split(".")[-1].isdigit()
    ]


def test_the_last_text_layers_keep_their_activations():
    model, _ = tiny_models.build("qwen2_vl", torch.float64)
    sequences = sequences_of("qwen2_vl", torch.float64, BRANCHES)
    model.train()
    expected = numbers(tree_log_probs, model, sequences)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    before = _checkpointed(model)
    keep_activations(model, 1)
    assert [name for name in before if name not in _checkpointed(model)] == [
        f"model.language_model.layers.{len(model.model.language_model.layers) - 1}"
    ]
    found = numbers(tree_log_probs, model, sequences)
    assert torch.equal(found[0], expected[0])
    assert (found[1] - expected[1]).norm() <= 1e-12 * expected[1].norm()


def test_more_layers_than_there_are_means_all_of_the_text():
    model, _ = tiny_models.build("qwen2_vl")
    model.gradient_checkpointing_enable({"use_reentrant": False})
    keep_activations(model, 99)
    kept = _checkpointed(model)
    assert kept
    assert all("visual" in name for name in kept)


def test_compiled_layers_give_the_same_numbers(monkeypatch):
    model, _ = tiny_models.build("qwen2_vl")
    sequences = sequences_of("qwen2_vl", torch.float32, BRANCHES)
    expected = numbers(tree_log_probs, model, sequences)
    compiled = []
    # Capture and run the graph as it is, which avoids minutes of C++ compilation.
    real = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, **options: (
            compiled.append(function) or real(function, **{**options, "backend": "eager"})
        ),
    )
    compile_layers(model)
    compile_layers(model)
    layers = len(model.model.language_model.layers) + len(model.model.visual.blocks)
    assert len(compiled) == layers
    found = numbers(tree_log_probs, model, sequences)
    assert (found[0] - expected[0]).abs().max() < 1e-4
    assert (found[1] - expected[1]).norm() <= 1e-4 * expected[1].norm()
