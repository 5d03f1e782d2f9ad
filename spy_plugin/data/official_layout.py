"""Write a benchmark as a folder in the layout of the official release, which `--release` reads."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.protocol import CONFIG_FILE, SELF_MOD_FILE, Protocol
from spy_plugin.benchmark.records import Scenario
from spy_plugin.benchmark.samples import Benchmark, Item
from spy_plugin.data.pictures import picture_file
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.archives import check_room

DATA = Path("benchmark/data")


def write_official(benchmark: Benchmark, out: Path) -> int:
    """Write the questions, the words and the pictures.

    The pictures lie below the folder itself, so that samples name them as before.

    Returns:
        The number of samples with distractors.

    Raises:
        DataError: a picture is missing.
        SpyBenchError: a picture's path would lie among the release's own files.
    """
    names = sorted({item.image_path for item in benchmark.items})
    for name in names:
        if name.split("/")[0] == DATA.parts[0]:
            raise SpyBenchError(
                f"the picture {name} would lie among the release's own files. Move the pictures "
                "into a folder of another name."
            )
    root = benchmark.image_root.resolve()
    files = {name: picture_file(root, name, where=name) for name in names}
    check_room(out.parent, sum(path.stat().st_size for path in files.values()))
    (out / DATA).mkdir(parents=True)
    contents: dict[str, Any] = {
        "questions.json": {"benchmark_list": [_entry(item) for item in benchmark.items]},
        "label2text.json": dict(benchmark.label_words),
        "scenarios.json": _scenarios(benchmark),
    }
    for name, content in contents.items():
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (out / DATA / name).write_text(text + "\n", encoding="utf-8")
    _write_words(benchmark.protocol, out)
    for name, path in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / name)
    return sum(1 for _ in benchmark.samples(distractors=benchmark.variants[0]))


def _entry(item: Item) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "benchmark_id": item.benchmark_id,
        "label": item.label,
        "other_labels": dict(item.other_labels),
        "question_item": {
            "question_id": item.question_id,
            "image_path": item.image_path,
            "question": item.question,
            "gt": item.gt,
        },
        "non_privacy_scenarios": [_in_item(role) for role in item.non_privacy_scenarios],
        "privacy_scenarios": [_in_item(role) for role in item.privacy_scenarios],
    }
    if item.label_words is not None:
        entry["label2text"] = dict(item.label_words)
    if item.instruct_templates is not None:
        entry["instruct_templates"] = list(item.instruct_templates)
    return entry


def _in_item(role: Scenario) -> dict[str, str]:
    return {"scenario": role.id, "2nd_person_template": role.template}


def _scenarios(benchmark: Benchmark) -> dict[str, Any]:
    """Return the scenarios, each with the labels whose items say that the role needs them."""
    templates: dict[str, str] = {}
    needs: dict[str, set[str]] = defaultdict(set)
    for item in benchmark.items:
        for role in (*item.non_privacy_scenarios, *item.privacy_scenarios):
            templates.setdefault(role.id, role.template)
            if not role.is_privacy:
                needs[role.id].add(item.label)
    return {
        name: {"scenario": name, "labels": sorted(needs[name]), "2nd_person_template": template}
        for name, template in templates.items()
    }


def _write_words(protocol: Protocol, out: Path) -> None:
    config = (
        f"INSTRUCT_TEMPLATES = {protocol.instruct_templates!r}\n"
        f"EVAL_PROMPTS = {protocol.judge_prompt!r}\n"
        f"ABS_PRIV_LABELS = {sorted(protocol.absolute_labels)!r}\n"
    )
    turns = f"Q2_template = {protocol.second_turn!r}\nQ3_template = {protocol.third_turn!r}\n"
    note = f"# Written by spy-bench: the words of the protocol {protocol.name}.\n"
    (out / CONFIG_FILE).write_text(note + config, encoding="utf-8")
    (out / SELF_MOD_FILE).write_text(note + turns, encoding="utf-8")
