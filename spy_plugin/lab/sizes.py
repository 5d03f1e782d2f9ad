"""The lab sizes: benchmarks, models, training lengths and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spy_plugin.benchmarks import LAB, LAB_SMALL, LAB_SMALL_VALIDATION, LAB_VALIDATION
from spy_plugin.embedded.lab.cards import SIDE


@dataclass(frozen=True)
class LabSize:
    """One size of the lab.

    Attributes:
        name: Value of `--size`.
        model_type: `model_type` in the configuration of its base.
        recipe: Recipe of its base, as ``"module:Class"``.
        benchmark: Benchmark of the tables.
        validation: Benchmark of the curves.
        dataset: Name of `benchmark` in VLMEvalKit.
        base_steps: Default optimizer steps of the base.
        steps: Default optimizer steps of each alignment.
        settings: Training settings of each method.
        tuning: Number of settings that each method's were chosen from; empty if not tuned.
        tuned_on: Data that the settings were chosen on; empty if not tuned.
        options: Further options of the training scripts.
        gpu_options: Further options of the training scripts on a GPU.
    """

    name: str
    model_type: str
    recipe: str
    benchmark: str
    validation: str
    dataset: str
    base_steps: int
    steps: int
    settings: Mapping[str, Mapping[str, float]]
    tuning: Mapping[str, int]
    tuned_on: str
    options: Mapping[str, Any] = field(default_factory=dict)
    gpu_options: Mapping[str, Any] = field(default_factory=dict)


TINY = LabSize(
    name="tiny",
    model_type="qwen2_vl",
    recipe="spy_plugin.lab.tiny_recipe:TinyRecipe",
    benchmark=LAB,
    validation=LAB_VALIDATION,
    dataset="SPYBench_LAB",
    base_steps=1200,
    steps=600,
    settings={
        "sft": {"learning_rate": 5e-4},
        "dpo": {"learning_rate": 5e-4, "beta": 0.02},
        "nca": {"learning_rate": 5e-4, "beta": 0.1},
        "nca_priv": {"learning_rate": 5e-4, "beta": 0.1},
    },
    tuning={"sft": 1, "dpo": 4, "nca": 1, "nca_priv": 1},
    tuned_on="the validation split, seed 0",
    options={"min_pixels": SIDE * SIDE, "max_pixels": SIDE * SIDE},
)

SMALL = LabSize(
    name="small",
    model_type="llava",
    recipe="spy_plugin.lab.small_recipe:SmallRecipe",
    benchmark=LAB_SMALL,
    validation=LAB_SMALL_VALIDATION,
    dataset="SPYBench_LAB_SMALL",
    base_steps=800,
    steps=200,
    settings={
        "sft": {"learning_rate": 1e-4},
        "dpo": {"learning_rate": 5e-5, "beta": 0.1},
        "nca": {"learning_rate": 2e-4, "beta": 0.1},
        "nca_priv": {"learning_rate": 1e-4, "beta": 0.1},
    },
    tuning={"sft": 5, "dpo": 5, "nca": 5, "nca_priv": 5},
    tuned_on="the validation split, seed 0",
    gpu_options={"tf32": True},
)

SIZES: Mapping[str, LabSize] = {size.name: size for size in (TINY, SMALL)}
"""The sizes by name."""
