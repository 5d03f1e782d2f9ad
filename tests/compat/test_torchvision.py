"""A torchvision built for CUDA can be imported beside a CPU build of torch, once it is fixed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("torch")

_FAKE_KERNEL = """\
import torch

@torch.library.register_fake("torchvision::nms")
def meta_nms(dets, scores, iou_threshold):
    return dets
"""


def write_torchvision(folder: Path, registrations: str) -> Path:
    """Write a package that is imported as torchvision is."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("from . import _meta_registrations\n")
    path = package / "_meta_registrations.py"
    path.write_text(registrations)
    return path


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )


def fix(folder: Path) -> subprocess.CompletedProcess[str]:
    return python(folder, "-m", "spy_plugin.compat.torchvision")


def test_one_step_fixes_every_process_and_a_second_changes_nothing(tmp_path: Path) -> None:
    path = write_torchvision(tmp_path, _FAKE_KERNEL)
    plain = python(tmp_path, "-c", "import torchvision")
    assert "operator torchvision::nms does not exist" in plain.stderr
    done = fix(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"fixed for a CPU build of torch: {path}" in done.stdout
    assert python(tmp_path, "-c", "import torchvision").returncode == 0
    text = path.read_text()
    assert text.endswith(_FAKE_KERNEL)
    assert "nothing to fix" in fix(tmp_path).stdout
    assert path.read_text() == text
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []


def test_a_torchvision_that_works_is_left_alone(tmp_path: Path) -> None:
    path = write_torchvision(tmp_path, "import torch\n")
    assert "nothing to fix" in fix(tmp_path).stdout
    assert path.read_text() == "import torch\n"


@pytest.mark.parametrize(
    "registrations",
    [
        "raise RuntimeError('something else')\n",
        # declared, it fails all the same: the original file is restored
        _FAKE_KERNEL + "\nraise RuntimeError('and torchvision::nms is still missing')\n",
        "from __future__ import annotations\n" + _FAKE_KERNEL,
    ],
)
def test_what_cannot_be_fixed_is_said_and_left_as_it_was(
    registrations: str, tmp_path: Path
) -> None:
    path = write_torchvision(tmp_path, registrations)
    done = fix(tmp_path)
    assert done.returncode == 1
    assert "torchvision cannot be imported" in done.stderr
    assert path.read_text() == registrations


def test_the_fix_in_one_process_lasts_as_long_as_the_process(tmp_path: Path) -> None:
    write_torchvision(tmp_path, _FAKE_KERNEL)
    code = (
        "from spy_plugin.compat.torchvision import declare_missing_ops\n"
        "declare_missing_ops()\ndeclare_missing_ops()\nimport gc; gc.collect()\n"
        "import torchvision\nprint('imported')\n"
    )
    done = python(tmp_path, "-c", code)
    assert done.stdout == "imported\n", done.stderr


def test_without_torchvision_there_is_nothing_to_do(tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys\n"
        "importlib.util.find_spec = lambda name: None\n"
        "from spy_plugin.compat import torchvision\n"
        "torchvision.declare_missing_ops()\n"
        "print(torchvision.main(), 'torch' in sys.modules)\n"
    )
    done = python(tmp_path, "-c", code)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr
