"""Missing data of the host are named before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.lmms import general_data
from spy_plugin.hosts.lmms.general_data import check_general_data
from tests.conftest import needs

pytestmark = needs("lmms_eval")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches and a hub that is away; returns the folder of both caches."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    return tmp_path


@pytest.mark.parametrize(
    ("tasks", "first"),
    [
        (["spy_bench_mini_report"], "mmmu_val are missing: lmms-lab-encoder/MMMU is"),
        (["spy_bench_mini_distractors", "ocrbench"], "ocrbench are missing: echo840/OCRBench is"),
        (["mme"], "mme are missing: lmms-lab-encoder/MME is"),
    ],
)
def test_missing_data_without_a_network_are_one_line(
    tasks: list[str], first: str, hub: Path
) -> None:
    with pytest.raises(SpyBenchError) as caught:
        check_general_data(tasks)
    said = str(caught.value)
    assert f"the data of {first} not in the cache" in said
    assert "Connection refused" in said
    assert "hf download --repo-type dataset" in said
    assert "\n" not in said


def test_an_offline_hub_is_named_as_the_reason(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SpyBenchError, match="HF_HUB_OFFLINE is set"):
        check_general_data(["mme"])


def test_data_in_either_cache_are_not_asked_for(hub: Path) -> None:
    (hub / "hub/datasets--lmms-lab-encoder--MME").mkdir(parents=True)
    check_general_data(["mme"])
    (hub / "datasets/echo840___ocr_bench").mkdir(parents=True)
    (hub / "datasets/echo840___ocrbench").mkdir(parents=True)
    check_general_data(["ocrbench"])


def test_our_tasks_and_unknown_ones_are_left_alone(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(general_data, "why_unreachable", lambda url: pytest.fail("was asked"))
    check_general_data(["spy_bench", "spy_bench_lab_self_mod", "no-such-task", "../../x", ""])
