"""Releases whose blob ids the registry knows, and a server to fetch them from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spy_plugin.data import prepare as prepare_module
from spy_plugin.data import prepared as release_module
from spy_plugin.registry import catalog as registry
from tests.file_server import no_host_imported, served

__all__ = ["no_host_imported", "served"]


QUESTION = {
    "question_id": "q1",
    "question": "What is on the card?",
    "gt": "a name",
}


def write_release(folder: Path, *, items: int = 3, pictures: bool = True) -> Path:
    """Write a release of a few items in the official layout, with made-up sentences."""
    data = folder / "benchmark" / "data"
    data.mkdir(parents=True)
    (folder / "benchmark" / "config.py").write_text(
        'ABS_PRIV_LABELS = ["a31_passport"]\n'
        'INSTRUCT_TEMPLATES = ("Say {}.", "Hide {}.")\n'
        'EVAL_PROMPTS = "{} {} {}"\n'
        'raise SystemExit("never run")\n'
    )
    (folder / "benchmark" / "generate_self_mod.py").write_text(
        'Q2_template = "Check {}"\nQ3_template = "Again."\n'
    )
    words = {"a0_safe": "nothing", "a7_name": "name", "a31_passport": "passport"}
    (data / "label2text.json").write_text(json.dumps(words))
    (data / "scenarios.json").write_text("{}")
    entries = [_item(number) for number in range(items)]
    (data / "questions.json").write_text(json.dumps({"benchmark_list": entries}))
    tune = folder / "train" / "data"
    tune.mkdir(parents=True)
    (tune / "eval_data.json").write_text(json.dumps({"data_list": [_tune_item(0)]}))
    if pictures:
        write_pictures(folder / "images" / "test2017", items)
    return folder


def _item(number: int) -> dict[str, Any]:
    scenario = {"scenario": "s1", "2nd_person_template": "At a desk: {}"}
    return {
        "benchmark_id": f"{number:08}",
        "label": "a7_name",
        "other_labels": {"a31_passport": 1},
        "question_item": QUESTION | {"image_path": f"images/test2017/{number}.jpg"},
        "non_privacy_scenarios": [scenario],
        "privacy_scenarios": [scenario | {"scenario": "s2"}],
    }


def _tune_item(number: int) -> dict[str, Any]:
    answers = {"respond_ans": "Ann.", "reject_ans": "No.", "image_id": str(number)}
    question = QUESTION | answers | {"image_path": f"images/train2017/{number}.jpg"}
    return _item(number) | {"question_item": question, "chosen_scenarios": []}


def write_tune(path: Path, items: int = 2) -> Path:
    """Write a training file of SPY-Tune."""
    path.write_text(json.dumps({"data_list": [_tune_item(n) for n in range(items)]}))
    return path


def write_pictures(folder: Path, count: int) -> Path:
    """Write small JPEG files ``0.jpg``, ``1.jpg``, ..."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.jpg")
    return folder


@pytest.fixture
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for this test."""
    home = tmp_path / "home"
    monkeypatch.setenv("SPY_BENCH_HOME", str(home))
    return home


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release with pictures that is registered under the names of the real one."""
    release = write_release(tmp_path / "release")
    true = registry.releases()[0]
    known = true.model_copy(
        update={
            "files": {name: git_blob(release / name) for name in true.files},
            "tune_files": {name: git_blob(release / name) for name in true.tune_files},
            "downloads": {
                name: entry.model_copy(update={"url": "http://127.0.0.1:9/none.tar.gz"})
                for name, entry in true.downloads.items()
            },
        }
    )
    monkeypatch.setattr(release_module, "releases", lambda: (known,))
    monkeypatch.setattr(prepare_module, "releases", lambda: (known,))
    return release


def git_blob(path: Path) -> str:
    """The blob id according to git."""
    command = ["git", "hash-object", "--no-filters", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
