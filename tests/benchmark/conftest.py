"""Items, and benchmarks made of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spy_plugin.benchmark.loading import load_benchmark
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.samples import Benchmark

WORDS = {"a49_phone": "phone", "a90_email": "e-mail", "a31_passport": "passport", "a0_safe": "x"}
TEMPLATES = ("Open: {}.", "Private: {}.")
ITEM: dict[str, Any] = {
    "benchmark_id": "00000007",
    "label": "a49_phone",
    "other_labels": {"a90_email": 1, "a31_passport": 0},
    "question_item": {
        "question_id": "q7",
        "image_path": "images/a.png",
        "question": "Which number?",
        "gt": "555",
    },
    "non_privacy_scenarios": [{"scenario": "s1", "2nd_person_template": "At work: {}"}],
    "privacy_scenarios": [{"scenario": "s2", "2nd_person_template": "At home: {}"}],
}


def item(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(ITEM) | changes


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes items, label words and a picture; it returns the folder."""

    def write(*items: Any) -> Path:
        (tmp_path / "questions.json").write_text(json.dumps({"benchmark_list": list(items)}))
        (tmp_path / "label2text.json").write_text(json.dumps(WORDS))
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
        return tmp_path

    return write


def load(folder: Path) -> Benchmark:
    protocol = replace(BUILTIN, instruct_templates=TEMPLATES)
    return load_benchmark(
        folder / "questions.json",
        folder / "label2text.json",
        protocol,
        image_root=folder,
        name="test",
    )
