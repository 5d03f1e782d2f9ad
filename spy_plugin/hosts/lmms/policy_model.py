"""Reference policies as an lmms-eval model: `--model spy_policy --model_args model=spy-oracle`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmms_eval.api.model import lmms

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.protocol import SELF_MODERATION_TURNS
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.lmms.named_models import refuse_arguments
from spy_plugin.hosts.lmms.samples import TASKS, benchmark_of
from spy_plugin.models.base import Conversation
from spy_plugin.models.policy_model import PolicyModel as ReferencePolicy


class PolicyModel(lmms):  # type: ignore[misc]
    """Answers SPY-Bench's samples by a rule, and every document of another task with ``A``.

    Args:
        model: A name of `spy_plugin.benchmark.policies.POLICIES`.
        batch_size, max_batch_size, device: The host's, for which a policy has no use.

    Raises:
        SpyBenchError: an unknown policy, or an argument that is none of these.
    """

    is_simple = False

    def __init__(
        self,
        model: str = "spy-literal",
        batch_size: object = None,
        max_batch_size: object = None,
        device: object = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        refuse_arguments(unknown, "model")
        if model not in POLICIES:
            raise SpyBenchError(f"unknown policy {model!r}. Use one of {', '.join(POLICIES)}.")
        self.policy = model
        self.device = "cpu"
        self._models: dict[str, ReferencePolicy] = {}

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Return one answer per request."""
        return [self._answer(request) for request in requests]

    def generate_until_multi_round(self, requests: list[Any]) -> list[list[str]]:
        """Return the same answer for each turn."""
        return [[self._answer(request)] * SELF_MODERATION_TURNS for request in requests]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Not supported: a policy has no probabilities."""
        raise NotImplementedError("a reference policy only generates")

    def _answer(self, request: Any) -> str:
        _, _, _, doc_id, task, split = request.args
        doc = self.task_dict[task][split][doc_id]
        if "sample_id" not in doc:
            return "A"
        name = TASKS[task].benchmark
        if name not in self._models:
            self._models[name] = ReferencePolicy(self.policy, benchmark_of(task))
        return self._models[name].answer(Conversation("", Path(doc["image"]), (doc["prompt"],)))
