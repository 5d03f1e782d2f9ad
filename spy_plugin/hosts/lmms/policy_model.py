"""Reference policies as an lmms-eval model: `--model spy_policy --model_args model=spy-oracle`."""

from __future__ import annotations

from typing import Any

from lmms_eval.api.model import lmms

from spy_plugin.benchmark.policies import POLICIES, reply
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.lmms.samples import samples_of


class PolicyModel(lmms):  # type: ignore[misc]
    """Answers SPY-Bench's samples by a rule, and every document of another task with ``A``.

    Args:
        model: A name of `spy_plugin.benchmark.policies.POLICIES`.
    """

    is_simple = False

    def __init__(self, model: str = "spy-literal", **_: Any) -> None:
        super().__init__()
        if model not in POLICIES:
            raise SpyBenchError(f"unknown policy {model!r}. Use one of {', '.join(POLICIES)}.")
        self.policy = model
        self.device = "cpu"

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Return one answer per request."""
        return [self._answer(request) for request in requests]

    def generate_until_multi_round(self, requests: list[Any]) -> list[list[str]]:
        """Return the same answer for each of the three turns."""
        return [[self._answer(request)] * 3 for request in requests]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Not supported: a policy has no probabilities."""
        raise NotImplementedError("a reference policy only generates")

    def _answer(self, request: Any) -> str:
        _, _, _, doc_id, task, split = request.args
        doc = self.task_dict[task][split][doc_id]
        if "sample_id" not in doc:
            return "A"
        return reply(self.policy, samples_of(task)[doc["sample_id"]])
