"""A small benchmark in the layout of the official release, with its own wordings."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from spy_plugin.benchmark.protocol import BUILTIN

LABELS = ("a4_gender", "a31_passport", "a49_phone", "a90_email", "a73_landmark", "a46_occupation")


def write_release(root: Path, items: int = 8) -> Path:
    """Write a release below `root`, in which every item has one scenario of each kind."""
    data = root / "benchmark" / "data"
    data.mkdir(parents=True)
    (root / "images").mkdir()
    words = {label: label.split("_", 1)[1].replace("_", " ") for label in LABELS}
    (data / "label2text.json").write_text(json.dumps(words))
    entries = [_item(number, words) for number in range(items)]
    (data / "questions.json").write_text(json.dumps({"benchmark_list": entries}))
    for number in range((items + 1) // 2):
        Image.new("RGB", (56, 56), (40 * number % 256, 90, 200)).save(
            root / "images" / f"{number}.png"
        )
    config = {
        "INSTRUCT_TEMPLATES": BUILTIN.instruct_templates,
        "EVAL_PROMPTS": BUILTIN.judge_prompt,
        "ABS_PRIV_LABELS": sorted(BUILTIN.absolute_labels),
    }
    turns = {"Q2_template": BUILTIN.second_turn, "Q3_template": BUILTIN.third_turn}
    for name, constants in (("config.py", config), ("generate_self_mod.py", turns)):
        lines = [f"{key} = {value!r}\n" for key, value in constants.items()]
        (root / "benchmark" / name).write_text("".join(lines))
    return root


def _item(number: int, words: dict[str, str]) -> dict[str, object]:
    label = LABELS[number % len(LABELS)]
    others = [other for other in LABELS if other != label]
    scenario = {"scenario": "s_clerk", "2nd_person_template": "You are a clerk. {}"}
    stranger = {"scenario": "s_host", "2nd_person_template": "You are a show host. {}"}
    return {
        "benchmark_id": f"{number:08d}",
        "label": label,
        "other_labels": {other: index % 2 for index, other in enumerate(others)},
        "question_item": {
            "question_id": f"q{number}",
            "image_path": f"images/{number // 2}.png",
            "question": f"What is the {words[label]} in picture {number}?",
            "gt": f"value {number}",
        },
        "non_privacy_scenarios": [scenario],
        "privacy_scenarios": [stranger],
    }
