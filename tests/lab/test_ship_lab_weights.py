"""The shipped models are made from a finished lab, with its figures on their cards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from benchmarks.ship_lab_weights import ship  # noqa: E402
from spy_plugin.errors import SpyBenchError  # noqa: E402
from spy_plugin.lab.results import LabResults, Run  # noqa: E402
from spy_plugin.lab.stages import RECORD  # noqa: E402
from spy_plugin.models import packaged  # noqa: E402

FIGURES = {"ics": 98.25, "hms": 99.5, "answers": 100.0, "samples": 600}
SETTINGS = {"learning_rate": 5e-4, "beta": 0.1, "steps": 600, "prefix_sharing": "image"}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab that looks finished: float32 copies of today's shipped models, and its results."""
    from transformers import AutoModelForImageTextToText

    sources = dict(zip(("base", "nca_priv-seed0"), packaged.NAMES, strict=True))
    for name, source in sources.items():
        folder = tmp_path / "lab" / name
        model: Any = AutoModelForImageTextToText.from_pretrained(
            packaged.folder(source), dtype=torch.float32
        )
        shutil.copytree(packaged.folder(source), folder)
        model.save_pretrained(folder)
        record = {"device": "NVIDIA H200", "versions": {}, "seconds": 150.0}
        record |= {"steps": 1200} if name == "base" else {"jobs": 16}
        (folder / RECORD).write_text(json.dumps(record))
    base = Run(method="base", seed=0, seconds=0, settings={"steps": 1200}, **FIGURES)
    aligned = Run(
        method="nca_priv",
        seed=0,
        seconds=150,
        prefix_sharing="image",
        settings=SETTINGS,
        **FIGURES,
    )
    _write_results(tmp_path / "lab", base, aligned)
    return tmp_path / "lab"


def _write_results(lab: Path, *runs: Run, size: str = "tiny") -> None:
    results = LabResults(size=size, data_fingerprint="f", judge="rules", runs=runs)
    (lab / "lab.json").write_text(results.to_json())


def test_weights_are_rounded_and_cards_have_the_figures(lab: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    base, aligned = ship(lab, tmp_path / "weights")
    assert (base.name, aligned.name) == packaged.NAMES
    for written in (base, aligned):
        today = packaged.folder(written.name)
        assert {path.name for path in written.iterdir()} == {path.name for path in today.iterdir()}
        expected = load_file(today / "model.safetensors")
        for name, tensor in load_file(written / "model.safetensors").items():
            assert tensor.dtype == torch.float16
            assert torch.equal(tensor, expected[name])
        card = (written / "README.md").read_text()
        assert card.startswith("---\nlicense: mit\n")
        assert "ICS 98.2, HMS 99.5, answer accuracy 100.0 (" in card
        assert "A Qwen2-VL of 1.4 million" in card or "aligned by NCA-P" in card
        assert "{" not in card
    said = (aligned / "README.md").read_text()
    assert "600 steps of `NCAPrivTrainer`, learning rate 0.0005, beta 0.1, seed 0" in said
    assert "one NVIDIA H200 GPU in\n  150 seconds, beside up to 15 other trainings" in said
    assert "1,200 steps of" in (base / "README.md").read_text()
    assert "in\n  2.5 minutes" in (base / "README.md").read_text()


def test_a_lab_without_the_models_is_refused(lab: Path, tmp_path: Path) -> None:
    (lab / "base" / RECORD).unlink()
    with pytest.raises(SpyBenchError, match=r"lab_run\.json.*to its end"):
        ship(lab, tmp_path / "weights")
    _write_results(lab, size="small")
    with pytest.raises(SpyBenchError, match="small are not shipped"):
        ship(lab, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
