"""Our data set names in VLMEvalKit and what each one is."""

from __future__ import annotations

from dataclasses import dataclass

from spy_plugin.benchmarks import MINI, OFFICIAL


@dataclass(frozen=True)
class Variant:
    """A benchmark and how its prompts are built."""

    benchmark: str
    distractors: bool


VARIANTS = {
    "SPYBench": Variant(OFFICIAL, True),
    "SPYBench_NO_DISTRACTORS": Variant(OFFICIAL, False),
    "SPYBench_MINI": Variant(MINI, True),
    "SPYBench_MINI_NO_DISTRACTORS": Variant(MINI, False),
}
