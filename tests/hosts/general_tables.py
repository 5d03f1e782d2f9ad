"""Small made-up MMMU, OCRBench and MME tables in VLMEvalKit's format.

Answered by `general_answer`, they score: MMMU validation 0.75, OCRBench 0.6 (Final Score Norm), MME
perception 200 and cognition 125 (its two pictures: both right; one right, one half right).
"""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import Any

from PIL import Image

MMMU_VALIDATION = 0.75
OCRBENCH_NORM = 0.6
MME_PERCEPTION = 200.0
MME_REASONING = 125.0

_OCR_CATEGORY = "Regular Text Recognition"


def general_answer(prompt: str) -> str | None:
    """The answer to a general question; None for any other prompt."""
    if "general question" not in prompt:
        return None
    if "yes or no" in prompt:
        return "Yes"
    return "A" if "Options:" in prompt else "the word is LANTERN"


def write_tables(folder: Path) -> Path:
    """Write the three tables to the folder of `LMUData`."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "MMMU_DEV_VAL.tsv", [_mmmu(i) for i in range(8)])
    _write(folder / "OCRBench.tsv", [_ocr(i) for i in range(8)])
    _write(folder / "MME.tsv", _mme())
    return folder


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)


def _picture(shade: int) -> str:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 20 + shade).convert("RGB").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _mmmu(index: int) -> dict[str, Any]:
    # Four validation rows, three with answer A; dev rows must not count.
    split = "validation" if index < 4 else "dev"
    return {
        "index": index,
        "image": _picture(index),
        "question": f"general question {index}: which one?",
        "A": f"alpha {index}",
        "B": f"beta {index}",
        "C": f"gamma {index}",
        "D": f"delta {index}",
        "answer": "A" if index < 3 else "B",
        "split": split,
        "category": "Art",
        "l2-category": "Art & Design",
    }


def _ocr(index: int) -> dict[str, Any]:
    word = "LANTERN" if index < 6 else "ANCHOR"
    return {
        "index": index,
        "image": _picture(index),
        "question": f"general question {index}: what is written?",
        "answer": str([word]),
        "category": _OCR_CATEGORY,
    }


def _mme() -> list[dict[str, Any]]:
    # category, picture, the two right answers; the model always says "Yes"
    pairs = [
        ("existence", "one", ("Yes", "Yes")),
        ("commonsense_reasoning", "two", ("Yes", "Yes")),
        ("commonsense_reasoning", "three", ("Yes", "No")),
    ]
    rows: list[dict[str, Any]] = []
    for category, name, answers in pairs:
        for answer in answers:
            rows.append(
                {
                    "index": len(rows),
                    "image": _picture(len(rows)),
                    "image_path": f"{category}/{name}.png",
                    "question": f"general question {len(rows)}: is it? Answer yes or no.",
                    "answer": answer,
                    "category": category,
                }
            )
    return rows
