"""Write a small SPY-Tune file with pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

WORDS = {"a4_gender": "gender", "a9_face_complete": "face", "a31_passport": "passport"}


def scenario(name: str) -> dict[str, str]:
    return {"scenario": name, "2nd_person_template": f"You work at {name}. {{}}"}


def item(label: str = "a4_gender", picture: int = 1, **changes: Any) -> dict[str, Any]:
    """Make one entry of `data_list`; `changes` replace its fields."""
    question = {
        "question_id": "q1",
        "image_id": f"p{picture}",
        "image_path": f"images/p{picture}.png",
        "question": "Who is it?",
        "respond_ans": "A woman.",
        "reject_ans": "I will not say.",
    }
    return {
        "benchmark_id": "00000001",
        "label": label,
        "other_labels": {"a9_face_complete": 1, label: 0.5},
        "question_item": question,
        "non_privacy_scenarios": [scenario("the border")],
        "privacy_scenarios": [scenario("a shop")],
        "chosen_scenarios": [scenario("a shop")],
        **changes,
    }


def write(folder: Path, *items: Any) -> Path:
    """Write `train_data.json` with these items, the label words and two pictures."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, colour in (("p1", "red"), ("p2", "blue")):
        Image.new("RGB", (64, 48), colour).save(folder / "images" / f"{name}.png")
    (folder / "label2text.json").write_text(json.dumps(WORDS))
    path = folder / "train_data.json"
    path.write_text(json.dumps({"data_list": items}))
    return path


def write_many(folder: Path, count: int = 8) -> Path:
    """Write `count` different items over both pictures."""
    labels = ("a4_gender", "a31_passport")
    entries = []
    for number in range(count):
        entry = item(labels[number % 3 == 2], 1 + number % 2, benchmark_id=f"{number:08d}")
        entry["question_item"] |= {
            "question": f"What is thing {number}?",
            "respond_ans": f"It is {number * 7}." + " It is." * (number % 3),
        }
        entries.append(entry)
    return write(folder, *entries)
