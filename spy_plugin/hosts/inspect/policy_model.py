"""Reference policies as a model of inspect: `--model spy/spy-literal`."""

from __future__ import annotations

from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo
from inspect_ai.util import store

from spy_plugin.benchmark.policies import POLICIES, reply
from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.inspect.errors import shown
from spy_plugin.hosts.inspect.samples import open_checked, samples_of

SAMPLE_KEY = "spy_bench_sample"
"""Entry of a sample's store: benchmark, variant and id, which `solve` leaves there."""

_PREFIX = "spy-"


class PolicyAPI(ModelAPI):  # type: ignore[misc]
    """Answers SPY-Bench's samples by a rule, without a model.

    Args:
        model_name: A name of `POLICIES`, with or without `spy-`.

    Raises:
        PrerequisiteError: no policy has this name, or an argument is given.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.policy = _PREFIX + model_name.removeprefix(_PREFIX)
        with shown():
            if unknown:
                raise SpyBenchError(f"a policy has no {', '.join(unknown)}. Leave -M out.")
            if self.policy not in POLICIES:
                names = ", ".join(POLICIES)
                raise SpyBenchError(f"unknown policy {model_name!r}. Use one of {names}.")

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Return the policy's answer to the sample that is being solved."""
        benchmark, sample = _asked()
        text = reply(self.policy, sample, benchmark.protocol.absolute_labels)
        return ModelOutput.from_content(model=self.policy, content=text)


def _asked() -> tuple[Benchmark, Sample]:
    """The sample that is being solved.

    Raises:
        SpyBenchError: it is another task's.
    """
    asked = store().get(SAMPLE_KEY)
    if not isinstance(asked, dict):
        raise SpyBenchError("reference policies answer SPY-Bench's tasks alone. Name one of them.")
    samples = samples_of(asked["benchmark"], asked["distractors"])
    return open_checked(asked["benchmark"]), samples[asked["id"]]
