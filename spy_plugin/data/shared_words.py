"""What all rows of an exported table share, as its files carry it along."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from spy_plugin.benchmark.loading import Template, Text
from spy_plugin.benchmark.samples import Benchmark

KEY = "spy_bench"
"""Names the words among the metadata of a Parquet file."""


class SharedWords(BaseModel):
    """The words of a benchmark, and how many samples its files hold together.

    Attributes:
        benchmark: Name of the benchmark that was exported.
        protocol: Fingerprint of all its words, those for the judge included.
        scenarios: Id -> template.
        label_words: Id -> words, in the benchmark's order.
    """

    model_config = ConfigDict(frozen=True)

    benchmark: Text
    samples: int = Field(ge=1)
    protocol: Text
    instruct_templates: tuple[Template, Template]
    absolute_labels: list[Text]
    scenarios: dict[Text, Template]
    label_words: dict[Text, Text]


def words_of(benchmark: Benchmark, *, distractors: bool) -> SharedWords:
    """Return the words of a benchmark, of which one variant is exported."""
    return SharedWords(
        benchmark=benchmark.name,
        samples=sum(1 for _ in benchmark.samples(distractors=distractors)),
        protocol=benchmark.protocol.fingerprint,
        instruct_templates=benchmark.protocol.instruct_templates,
        absolute_labels=sorted(benchmark.protocol.absolute_labels),
        scenarios={
            role.id: role.template
            for item in benchmark.items
            for role in (*item.non_privacy_scenarios, *item.privacy_scenarios)
        },
        label_words=dict(benchmark.label_words),
    )
