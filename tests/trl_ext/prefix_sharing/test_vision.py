"""Cached features of a frozen vision tower: the same numbers from disk, once per picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.token_batches import sequences_of  # noqa: E402
from trl_ext.prefix_sharing.errors import SharingUnsupportedError, TrainerSetupError  # noqa: E402
from trl_ext.prefix_sharing.log_probs import tree_log_probs  # noqa: E402
from trl_ext.prefix_sharing.vision import VisionCache, freeze_vision, vision_parameters  # noqa: E402

BRANCHES = [([0], [1, 2]), ([1], [1])]


def _gradients(model, log_probs):
    model.zero_grad()
    log_probs.sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


LARGE = ("gemma3", "idefics3")
"""Families whose tiny pictures have many patches."""


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=pytest.mark.slow if family in LARGE else ())
        for family in sorted(tiny_models.FAMILIES)
    ],
)
def test_cached_features_give_the_same_numbers(family, tmp_path):
    model, _ = tiny_models.build(family, torch.float64)
    freeze_vision(model)
    sequences = sequences_of(family, torch.float64, BRANCHES, pictures=2)
    expected = tree_log_probs(model, sequences)
    gradients = _gradients(model, expected)
    cache = VisionCache(tmp_path)
    for _ in range(2):  # computed, then read
        found = tree_log_probs(model, sequences, cache=cache)
        assert (found - expected).abs().max() < 1e-9
        for name, gradient in _gradients(model, found).items():
            assert (gradient - gradients[name]).norm() <= 1e-6 * gradients[name].norm() + 1e-12
    assert len(list(tmp_path.glob("*/*.pt"))) == 2
    assert not list(tmp_path.glob("*/*.partial"))


def test_the_tower_runs_once_for_each_picture_in_all_epochs_and_runs(tmp_path, monkeypatch):
    model, _ = tiny_models.build("qwen2_vl")
    freeze_vision(model)
    calls = []
    real = model.model.visual.forward
    monkeypatch.setattr(
        model.model.visual, "forward", lambda *a, **k: calls.append(1) or real(*a, **k)
    )
    sequences = sequences_of("qwen2_vl", torch.float32, BRANCHES, pictures=2)
    for cache in (VisionCache(tmp_path), VisionCache(tmp_path)):
        tree_log_probs(model, sequences, cache=cache)
        tree_log_probs(model, sequences, cache=cache)
    assert len(calls) == 2


def test_other_pixels_and_other_weights_are_other_files(tmp_path):
    sequences = sequences_of("qwen2_vl", torch.float32, BRANCHES)
    pixels = sequences.vision[0]["pixel_values"].clone()
    pixels[3, 5] += 1e-3
    changed = replace(sequences, vision=[{**sequences.vision[0], "pixel_values": pixels}])
    for seed in (0, 1):
        model, _ = tiny_models.build("qwen2_vl", seed=seed)
        freeze_vision(model)
        for batch in (sequences, changed):
            tree_log_probs(model, batch, cache=VisionCache(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    assert len(list(tmp_path.glob("*/*.pt"))) == 4


@pytest.mark.parametrize("family", [*tiny_models.FAMILIES, "llava_next", "mistral3", "ovis2"])
def test_freezing_leaves_the_language_model_alone_in_training(family):
    """Also what lies on the model itself, such as the `image_newline` of LLaVA's later versions."""
    model, _ = tiny_models.build(family)
    freeze_vision(model)
    frozen = {id(each) for each in vision_parameters(model)}
    assert frozen
    for name, parameter in model.named_parameters():
        language = any(part in name for part in ("language_model", "lm_head", "text_model"))
        assert parameter.requires_grad == language, name
        assert language == (id(parameter) not in frozen)


def test_a_model_without_a_tower_has_nothing_to_freeze():
    model, _ = tiny_models.build("llava")
    with pytest.raises(TrainerSetupError, match="no weights outside its language model"):
        freeze_vision(model.model.language_model)


def test_a_tower_in_training_is_refused(tmp_path):
    model, _ = tiny_models.build("qwen2_vl")
    sequences = sequences_of("qwen2_vl", torch.float32, BRANCHES)
    with pytest.raises(SharingUnsupportedError, match="freeze_vision"):
        tree_log_probs(model, sequences, cache=VisionCache(tmp_path))


def test_weights_that_are_elsewhere_cannot_name_a_cache(tmp_path):
    model, _ = tiny_models.build("qwen2_vl")
    freeze_vision(model)
    sequences = sequences_of("qwen2_vl", torch.float32, BRANCHES)
    parameter = next(model.model.visual.parameters())
    parameter.data = parameter.data.new_empty(0)  # as ZeRO-3 leaves it between uses
    with pytest.raises(SharingUnsupportedError, match="split over processes"):
        tree_log_probs(model, sequences, cache=VisionCache(tmp_path))


def test_the_model_computes_its_own_features_again_afterwards(tmp_path):
    model, _ = tiny_models.build("qwen2_vl")
    freeze_vision(model)
    sequences = sequences_of("qwen2_vl", torch.float32, BRANCHES)
    tree_log_probs(model, sequences, cache=VisionCache(tmp_path))
    assert "get_image_features" not in vars(model.model)
