"""The official NCA-P algorithm as an independent training loop, for comparison.

Each of a row's four sequences is a padded row of its own with its own copy of the picture, decoded
and processed each time; logits are made for every token; the reference runs in every step. As in
the official settings: one row per pass, gradient checkpointing, 32 rows per optimizer step, AdamW.
Nothing of `trl_ext` but its reader of SPY-Tune rows is used.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BETA = 0.01
ROWS_PER_STEP = 32
SEQUENCES = [
    (f"prompt_{side}", f"{kind}_{side}") for side in "01" for kind in ("chosen", "rejected")
]


def measure(model_folder: Path, data: Path, rows: int, device: str = "cuda") -> dict[str, Any]:
    """Train on `rows` rows, and time them after one that warms up.

    Returns:
        Seconds per row of a pass, seconds of an optimizer step, and rows per second with both.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from trl_ext import load_spy_tune

    began = time.perf_counter()
    processor = AutoProcessor.from_pretrained(model_folder)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForImageTextToText.from_pretrained(model_folder, dtype=dtype).to(device)
    reference = copy.deepcopy(model).eval().requires_grad_(False)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-6, weight_decay=0.05, fused=True)
    examples = load_spy_tune(data, kind="paired", max_rows=rows + 1)
    started = time.perf_counter()
    seconds = []
    for row in _rows(examples):
        start = time.perf_counter()
        batch = {name: value.to(device) for name, value in _encode(processor, row).items()}
        _loss(model, reference, batch).div(ROWS_PER_STEP).backward()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    steps = []
    for _ in range(3):
        start = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _wait(device)
        steps.append(time.perf_counter() - start)
    row_seconds = sum(seconds[1:]) / len(seconds[1:])
    return {
        "rows": len(seconds) - 1,
        "start_seconds": started - began,
        "row_seconds": row_seconds,
        "optimizer_seconds": min(steps),
        "rows_per_second": 1 / (row_seconds + min(steps) / ROWS_PER_STEP),
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None,
    }


def _rows(dataset: Any) -> Iterator[dict[str, Any]]:
    for index in range(len(dataset)):
        yield dataset[index]


def _encode(processor: Any, row: dict[str, Any]) -> dict[str, Tensor]:
    """The four sequences, each with the picture, padded on the right; labels of answers alone."""
    texts, images, lengths = [], [], []
    for prompt, answer in SEQUENCES:
        messages = [_cleaned(each) for each in row[prompt]]
        start = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        end = "".join(part["text"] for part in row[answer][0]["content"])
        texts.append(f"{start}{end}{processor.tokenizer.eos_token}\n")
        images.append(row["images"])
        answer_ids = processor.tokenizer(texts[-1][len(start) :], add_special_tokens=False)
        lengths.append(len(answer_ids["input_ids"]))
    encoded = dict(
        processor(
            text=texts, images=images, padding=True, padding_side="right", return_tensors="pt"
        )
    )
    labels = torch.full_like(encoded["input_ids"], -100)
    ends = encoded["attention_mask"].sum(dim=1).tolist()
    for index, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        labels[index, end - length : end] = encoded["input_ids"][index, end - length : end]
    return {**encoded, "labels": labels}


def _cleaned(message: dict[str, Any]) -> dict[str, Any]:
    parts = [{k: v for k, v in part.items() if v is not None} for part in message["content"]]
    return {**message, "content": parts}


def _loss(model: Any, reference: Any, batch: dict[str, Tensor]) -> Tensor:
    labels = batch.pop("labels")
    with torch.no_grad():
        known = _log_probs(reference, batch, labels)
    reward = BETA * (_log_probs(model, batch, labels) - known)
    chosen, rejected = reward[0::2], reward[1::2]
    losses = F.logsigmoid(chosen) + 0.5 * (F.logsigmoid(-chosen) + F.logsigmoid(-rejected))
    return -losses.sum()


def _log_probs(model: Any, batch: dict[str, Tensor], labels: Tensor) -> Tensor:
    logits = model(**batch, use_cache=False).logits[:, :-1]
    targets = labels[:, 1:]
    mask = targets != -100
    chosen = logits.log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return (chosen * mask).sum(-1)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
