"""Write the lab's splits in the official layout into the user's cache, at first use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from spy_plugin.embedded.lab.cards import draw
from spy_plugin.embedded.lab.items import benchmark_entry, lab_items, scenarios, tune_entry
from spy_plugin.embedded.lab.wordings import NATURAL, RECOMBINED, Wordings
from spy_plugin.embedded.lab.world import WORDS, Split
from spy_plugin.errors import SpyBenchError, system_reason
from spy_plugin.files.home import build_once, home

DATA_VERSION, SMALL_DATA_VERSION = 2, 1
"""Versions of the tiny and of the small size; a version changes when the content does."""

ITEMS: dict[Split, int] = {"train": 3200, "validation": 60, "test": 120}
"""Items per split: 9,600 paired rows for training, 300 and 600 samples for evaluation."""


FOLDERS: Mapping[str, tuple[str, Wordings]] = {
    "tiny": (f"lab-v{DATA_VERSION}", RECOMBINED),
    "small": (f"lab-small-v{SMALL_DATA_VERSION}", NATURAL),
}
"""Size -> its folder in the cache, and its wordings."""


def build(split: Split, size: str = "tiny") -> Path:
    """Return the data root of a split of a size, written at first use within seconds.

    It holds ``questions.json``, ``label2text.json``, ``scenarios.json``, ``tune.json`` (the
    training split) and ``images/*.png``.

    Raises:
        SpyBenchError: the cache cannot be written.
    """
    name, wordings = FOLDERS[size]
    folder = home() / name / split
    try:
        return build_once(folder, partial(_write, split=split, wordings=wordings))
    except OSError as error:
        raise SpyBenchError(
            f"{folder} cannot be written ({system_reason(error)}). Set SPY_BENCH_HOME to a "
            "folder with space that you may write to."
        ) from error


def _write(folder: Path, split: Split, wordings: Wordings) -> None:
    items = list(lab_items(split, ITEMS[split], wordings=wordings))
    contents = {
        "questions.json": {"benchmark_list": [benchmark_entry(item) for item in items]},
        "label2text.json": dict(WORDS),
        "scenarios.json": scenarios(wordings),
    }
    if split == "train":
        contents["tune.json"] = {"data_list": [tune_entry(item) for item in items]}
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "images").mkdir()
    for name, card in {item.card_name: item.card for item in items}.items():
        draw(card).save(folder / "images" / name)
