"""Judging through OpenAI's Batch API: questions become requests, results become verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging.base import Judge, Judgement, Question
from spy_plugin.judging.cached_judge import CachedJudge
from spy_plugin.judging.model_judge import ModelJudge, read_verdict
from spy_plugin.models.base import Reply
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.runs.batches import Batches


class JudgeBatches:
    """What was submitted for one file of verdicts.

    Args:
        judge: The judge, perhaps behind a cache, where results are kept for later runs.
        out: The file of verdicts.

    Raises:
        JudgeSetupError: the judge is not behind OpenAI's API.
    """

    def __init__(self, judge: Judge, out: Path) -> None:
        self._cache = judge if isinstance(judge, CachedJudge) else None
        inner = self._cache.judge if self._cache else judge
        if not isinstance(inner, ModelJudge) or not isinstance(inner.model, OpenAIModel):
            raise JudgeSetupError(
                f"judge {judge.name} has no batches. Use --judge openai:MODEL, or leave out "
                "--batch."
            )
        self._judge = inner
        self.batches = Batches(
            inner.model,
            out,
            asked=inner.name,
            fingerprint=inner.fingerprint,
            text_required=True,
        )

    def submit(self, questions: Sequence[Question]) -> list[str]:
        """Submit what is neither in the cache nor in a batch already; see `Batches.submit`."""
        known = self._cache.known(questions) if self._cache else set()
        todo = (
            self._judge.conversation(question.key, question)
            for index, question in enumerate(questions)
            if index not in known
        )
        return self.batches.submit(todo, len(known))

    def results(self) -> Judge:
        """A judge that answers from the results, under the name and fingerprint of the real one.

        Raises:
            SpyBenchError: a batch has not ended.
        """
        judge: Judge = _Results(self._judge, self.batches.replies())
        return CachedJudge(judge, self._cache.cache) if self._cache else judge


class _Results(Judge):
    """Judgements that a batch brought."""

    def __init__(self, judge: Judge, found: Mapping[str, Reply]) -> None:
        self.name, self.fingerprint, self.server = judge.name, judge.fingerprint, judge.server
        self._judge, self.found = judge, found

    def fingerprint_at(self, server: str) -> str:
        """The real one's."""
        return self._judge.fingerprint_at(server)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield what was found; a question that was not submitted has failed."""
        missing = Judgement(Outcome.FAILED, error="no batch holds this question")
        for index, question in enumerate(questions):
            reply = self.found.get(question.key)
            yield index, read_verdict(reply) if reply else missing
