"""MMMU, OCRBench and MME with a few made-up questions, placed where lmms-eval finds them.

`datasets` takes a folder below the working directory for the data set of that name, so the host's
own tasks run unchanged and offline.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

MMMU, OCRBENCH, MME = 0.5, 2 / 1000, 200.0
"""The scores of a model that answers ``A`` (MMMU), ``yes`` (MME) and ``OPEN`` (OCRBench)."""


def write_general_data(root: Path) -> None:
    """Write the three data sets below `root`."""
    picture = Image.new("RGB", (56, 56), "white")
    _write(
        root / "lmms-lab-encoder" / "MMMU" / "validation.parquet",
        [
            {
                "id": f"validation_Art_{number}",
                "question": "<image 1> Which letter is right?",
                "options": "['first', 'second']",
                "question_type": "multiple-choice",
                "answer": answer,
                "image_1": picture,
            }
            for number, answer in enumerate("AB", 1)
        ],
    )
    _write(
        root / "echo840" / "OCRBench" / "test.parquet",
        [
            {
                "dataset": "made-up",
                "question": "What does the sign say?",
                "question_type": "Regular Text Recognition",
                "answer": [word],
                "image": picture,
            }
            for word in ("OPEN", "OPEN", "SHUT")
        ],
    )
    _write(
        root / "lmms-lab-encoder" / "MME" / "test.parquet",
        [
            {
                "question_id": f"{category}/1",
                "question": f"Is it {answer}? Please answer yes or no.",
                "answer": answer,
                "category": category,
                "image": picture,
            }
            for category, answers in (
                ("existence", ("Yes", "Yes")),
                ("code_reasoning", ("No", "No")),
            )
            for answer in answers
        ],
    )


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    from datasets import Dataset, Features, Sequence, Value
    from datasets import Image as ImageFeature

    features = {
        name: ImageFeature()
        if name.startswith("image")
        else Sequence(Value("string"))
        if isinstance(value, list)
        else Value("string")
        for name, value in rows[0].items()
    }
    path.parent.mkdir(parents=True)
    Dataset.from_list(rows, features=Features(features)).to_parquet(path)
