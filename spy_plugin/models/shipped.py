"""`spy-tiny-base` and `spy-tiny-ncap`: the lab's shipped weights, models of both hosts by name."""

from __future__ import annotations

from pathlib import Path

NAMES = ("spy-tiny-base", "spy-tiny-ncap")
"""The base always answers; the other was aligned by NCA-P."""

MAX_NEW_TOKENS = 24


def folder(name: str) -> Path:
    """Folder of a shipped model: a Qwen2-VL checkpoint in float16 with its processor."""
    return Path(__file__).parent / "weights" / name
