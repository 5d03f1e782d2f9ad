"""Checkpoints run by our own code: by name, in batches, with clear errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spy_plugin.errors import SpyBenchError
from spy_plugin.models import checkpoint
from spy_plugin.models import shipped as lab
from spy_plugin.models import tiny_random as tiny
from spy_plugin.models.checkpoint import BATCH_SIZE_VARIABLE, OWN_MODELS, Checkpoint, OwnModel

pytest.importorskip("transformers")


def conversation(number: int) -> list[dict[str, Any]]:
    picture = Image.new("RGB", (112, 112), (40 * number, 90, 200))
    parts = [
        {"type": "image", "image": picture},
        {"type": "text", "text": "read the phone. " * (number + 1)},
    ]
    return [{"role": "user", "content": parts}]


def test_our_models_are_the_random_one_and_the_labs() -> None:
    assert tuple(OWN_MODELS) == (tiny.NAME, *lab.NAMES)


def test_a_batch_says_what_each_would_say_alone() -> None:
    model = Checkpoint(tiny.NAME, device="cpu")
    conversations = [conversation(number) for number in range(5)]
    together = model.generate(conversations)
    assert together == [model.generate([each])[0] for each in conversations]
    assert len(set(together)) > 1
    shorter = model.generate(conversations, 2)
    for short, text in zip(shorter, together, strict=True):
        assert text.startswith(short)
        assert len(short) < len(text)


def test_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    model = Checkpoint(tiny.NAME, device="cpu")
    conversations = [conversation(number) for number in range(5)]
    expected = model.generate(conversations)
    whole = model._generate_once

    def small(batch: Any, limit: int) -> list[str]:
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError
        return whole(batch, limit)

    monkeypatch.setattr(model, "_generate_once", small)
    assert model.generate(conversations) == expected
    assert model.batch_size <= 2


def test_the_batch_size_is_the_users_then_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BATCH_SIZE_VARIABLE, raising=False)
    assert Checkpoint(tiny.NAME).batch_size == 32
    assert Checkpoint(str(tiny.build())).batch_size == 8
    monkeypatch.setenv(BATCH_SIZE_VARIABLE, "3")
    assert Checkpoint(tiny.NAME).batch_size == 3
    assert Checkpoint(tiny.NAME, batch_size=4).batch_size == 4
    monkeypatch.setenv(BATCH_SIZE_VARIABLE, "none")
    with pytest.raises(SpyBenchError, match="Set it to a whole number"):
        Checkpoint(tiny.NAME)


def test_weights_that_are_not_there_are_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = {"spy-tiny-base": OwnModel(lambda: tmp_path / "none", 24)}
    monkeypatch.setattr(checkpoint, "OWN_MODELS", models)
    with pytest.raises(SpyBenchError, match=r"weights of spy-tiny-base are not in .*pip install"):
        Checkpoint("spy-tiny-base")


@pytest.mark.parametrize("name", lab.NAMES)
def test_the_labs_models_answer_in_words(name: str) -> None:
    if not (lab.folder(name) / "config.json").is_file():
        pytest.skip(f"the weights of {name} are not built")
    (text,) = Checkpoint(name, device="cpu").generate([conversation(0)])
    assert text.endswith(".")
