"""What a lab keeps to when it goes on after an interruption."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from spy_plugin.errors import SpyBenchError
from spy_plugin.lab import base, training, unfinished
from spy_plugin.lab.recipe import Recipe
from spy_plugin.lab.tiny_recipe import TinyRecipe
from spy_plugin.lab.training import Plan
from spy_plugin.models import packaged as models
from tests.lab.small_models import SHORT, short_recipe


def test_a_folder_begun_with_one_process_is_not_gone_on_with_in_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "command", lambda *_: [sys.executable, "-c", ""])
    shipped, plan = models.folder("spy-tiny-base"), Plan(out=tmp_path)
    training.align(plan, shipped, "dpo", 0)
    with pytest.raises(SpyBenchError, match=r"'processes': 1.*Name another --out"):
        training.align(replace(plan, processes=2), shipped, "dpo", 0)


STEPS = 5
TINY = TinyRecipe(course=SHORT)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On one thread (sums of several differ from run to run), with the state kept often."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(unfinished, "EVERY", 2)
    yield
    torch.set_num_threads(threads)


def _train(
    folder: Path, recipe: Recipe = TINY, *, kill_after: int | None = None, steps: int = STEPS
) -> list[int]:
    """Train a base of five steps, killed after one of them if asked to; returns the steps taken."""
    taken: list[int] = []

    def progress(step: int, _: float) -> None:
        taken.append(step)
        if step == kill_after:
            raise KeyboardInterrupt

    try:
        base.train_base(folder, recipe, steps=steps, progress=progress)
    except KeyboardInterrupt:
        assert kill_after is not None
    return taken


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("recipe", [TINY, short_recipe()], ids=lambda recipe: recipe.name)
def test_a_killed_base_goes_on_and_equals_an_unbroken_one(recipe: Recipe, tmp_path: Path) -> None:
    assert _train(tmp_path / "whole", recipe) == [1, 2, 3, 4, 5]
    broken = tmp_path / "broken"
    assert _train(broken, recipe, kill_after=3) == [1, 2, 3]
    assert not broken.exists()
    assert _train(broken, recipe, kill_after=5) == [3, 4, 5]  # step 3 was taken, but not kept
    assert _train(broken, recipe) == [5]
    for name in ("model.safetensors", base.HISTORY):
        assert (broken / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "broken"}


@pytest.mark.usefixtures("short")
def test_a_base_begun_with_other_steps_is_refused(tmp_path: Path) -> None:
    _train(tmp_path / "base", kill_after=3)
    with pytest.raises(SpyBenchError, match=r"begun with .*'steps': 5.* name another --out"):
        _train(tmp_path / "base", steps=6)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("content", [b"", b"no such file format", b"PK\x03\x04 cut off"])
def test_an_unfinished_base_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "base-unfinished.pt"
    path.write_bytes(content)
    with pytest.raises(SpyBenchError, match=r"base-unfinished\.pt cannot be read.* begin again"):
        _train(tmp_path / "base")
