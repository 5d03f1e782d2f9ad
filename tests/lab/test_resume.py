"""A lab that resumes after an interruption keeps to its settings and results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from spy_plugin.errors import SpyBenchError
from spy_plugin.lab import base, base_checkpoint, stages
from spy_plugin.lab.recipe import Recipe
from spy_plugin.lab.stages import Alignment, Plan
from spy_plugin.lab.tiny_recipe import TinyRecipe
from spy_plugin.models import packaged as models
from tests.lab.small_models import SHORT, short_recipe


def test_a_run_of_one_process_does_not_resume_with_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "command", lambda *_: [sys.executable, "-c", ""])
    shipped, plan = models.folder("spy-tiny-base"), Plan(out=tmp_path)
    stages.align(plan, shipped, Alignment("dpo"))
    with pytest.raises(SpyBenchError, match=r"'processes': 1.*Use another --out"):
        stages.align(replace(plan, processes=2), shipped, Alignment("dpo"))


STEPS = 5
TINY = TinyRecipe(schedule=SHORT)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use one thread (with several, sums differ between runs) and save the state often."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(base_checkpoint, "SAVE_EVERY", 2)
    yield
    torch.set_num_threads(threads)


def _train(
    folder: Path, recipe: Recipe = TINY, *, kill_after: int | None = None, steps: int = STEPS
) -> list[int]:
    """Train a base, stop it after step `kill_after` if given; return the steps taken."""
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
def test_a_resumed_base_equals_an_uninterrupted_one(recipe: Recipe, tmp_path: Path) -> None:
    assert _train(tmp_path / "whole", recipe) == [1, 2, 3, 4, 5]
    broken = tmp_path / "broken"
    assert _train(broken, recipe, kill_after=3) == [1, 2, 3]
    assert not broken.exists()
    assert _train(broken, recipe, kill_after=5) == [3, 4, 5]  # step 3 was taken but not saved
    assert _train(broken, recipe) == [5]
    for name in ("model.safetensors", base.HISTORY):
        assert (broken / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "broken"}


@pytest.mark.usefixtures("short")
def test_a_base_started_with_other_steps_is_refused(tmp_path: Path) -> None:
    _train(tmp_path / "base", kill_after=3)
    with pytest.raises(SpyBenchError, match=r"started with .*'steps': 5.* use another --out"):
        _train(tmp_path / "base", steps=6)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("content", [b"", b"no such file format", b"PK\x03\x04 cut off"])
def test_an_unreadable_checkpoint_of_the_base_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "base-checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(SpyBenchError, match=r"base-checkpoint\.pt cannot be read.* start again"):
        _train(tmp_path / "base")
