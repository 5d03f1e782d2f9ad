"""The training example of the README runs, except for the model's name and the length."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from tests.trl_ext import tiny_models
from tests.trl_ext.script_runs import environment

ROOT = Path(__file__).resolve().parents[2]
DECLARE = "from spy_plugin.compat.torchvision import declare_missing_ops; declare_missing_ops()\n"


def examples(page: Path) -> list[str]:
    """Yield the Python blocks of a page that train."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if "NCAPrivTrainer(" in block]


def test_the_example_trains_a_model(tmp_path: Path) -> None:
    [code] = examples(ROOT / "README.md") or examples(ROOT / "docs" / "training.md")
    assert len(code.strip().splitlines()) <= 10
    tiny_models.build("qwen2_vl", directory=tmp_path / "model")
    for pattern, new in (
        (r'"Qwen/[\w.-]+"', f'"{tmp_path / "model"}"'),
        (
            r'output_dir="[^"]+"',
            f'output_dir="{tmp_path / "out"}", max_steps=2, save_steps=2',
        ),
    ):
        code, found = re.subn(pattern, new, code)
        assert found == 1
    done = subprocess.run(
        [sys.executable, "-c", DECLARE + code],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "checkpoint-2" / "model.safetensors").is_file()
