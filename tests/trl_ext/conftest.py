"""Shared fixtures of the training tests."""

from __future__ import annotations

import os

import pytest

from spy_plugin.compat.torchvision import declare_missing_ops

# PEFT imports torchvision, which beside a CPU build of torch needs this first.
declare_missing_ops()

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TQDM_DISABLE", "1")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Use one thread, on which tiny models are faster."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a tiny Qwen2-VL and its processor."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.trl_ext import tiny_models

    folder = tmp_path_factory.mktemp("model")
    tiny_models.build("qwen2_vl", directory=folder)
    return str(folder)


@pytest.fixture(autouse=True)
def own_dataset_cache(tmp_path, monkeypatch):
    """What is cached by the content of rows must not pass from one test to another."""
    config = pytest.importorskip("datasets.config")
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "datasets")
