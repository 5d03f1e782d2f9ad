"""Our task names in lmms-eval and what each one is."""

from __future__ import annotations

from dataclasses import dataclass

from spy_plugin.benchmarks import MINI, OFFICIAL


@dataclass(frozen=True)
class Variant:
    """A benchmark, how its prompts are built, and whether the model answers in three turns."""

    benchmark: str
    distractors: bool
    self_moderation: bool = False


TASKS = {
    "spy_bench_distractors": Variant(OFFICIAL, True),
    "spy_bench_no_distractors": Variant(OFFICIAL, False),
    "spy_bench_self_mod": Variant(OFFICIAL, True, self_moderation=True),
    "spy_bench_mini_distractors": Variant(MINI, True),
    "spy_bench_mini_no_distractors": Variant(MINI, False),
    "spy_bench_mini_self_mod": Variant(MINI, True, self_moderation=True),
}
