"""Importing transformers beside torchao shows none of torchao's own warnings."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from spy_plugin.compat.torchao import quiet_torchao
from tests.conftest import ROOT


def test_the_trainer_loads_without_a_word(
    trainer_started: subprocess.CompletedProcess[str],
) -> None:
    pytest.importorskip("torchao")
    assert "torchao" in trainer_started.stdout.split()
    assert "torchao" not in trainer_started.stderr
    assert "Enum" not in trainer_started.stderr


def test_only_what_says_nothing_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    quiet_torchao()
    quiet_torchao()
    logger = logging.getLogger("torchao")
    with caplog.at_level(logging.WARNING):
        logger.warning("Failed to load %s: no such file", "kernels.so")
        logger.warning("this optimizer is deprecated")
        logging.getLogger("torch.utils._pytree").warning("an unrelated warning")
    assert [record.getMessage() for record in caplog.records] == [
        "this optimizer is deprecated",
        "an unrelated warning",
    ]


def test_it_loads_neither_torch_nor_torchao() -> None:
    code = (
        "import sys; from spy_plugin.compat.torchao import quiet_torchao; quiet_torchao(); "
        "print({'torch', 'torchao'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
