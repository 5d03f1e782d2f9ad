"""A judge that a host built: anything with `generate(prompt) -> str`, as VLMEvalKit's models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol as Shape

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Outcome
from spy_plugin.judging.base import Judge, Judgement, Question, fingerprint, read_reply
from spy_plugin.models.redact import redact

FAILURE_TEXT = "Failed to obtain answer"
"""How VLMEvalKit's models begin the text that they return in place of an answer."""


class HostModel(Shape):
    """What is asked of the host's object."""

    def generate(self, message: str) -> str:
        """Answer one prompt."""


class HostJudge(Judge):
    """Ask a host's own judge, from several threads.

    Args:
        model: The host's object; its own retries apply.
        protocol: Gives the judge prompt.
        name: Shown in results; by default the object's `model` attribute or its class.
        concurrency: Number of threads.
        secrets: Texts that must not get into files, such as the host's key.
    """

    def __init__(
        self,
        model: HostModel,
        protocol: Protocol,
        *,
        name: str | None = None,
        concurrency: int = 4,
        secrets: Sequence[str] = (),
    ) -> None:
        self._model, self._protocol, self._concurrency = model, protocol, concurrency
        own = getattr(model, "key", None)
        self._secrets = [*secrets, own] if isinstance(own, str) else list(secrets)
        self.name = f"host:{name or getattr(model, 'model', None) or type(model).__name__}"
        self.fingerprint = fingerprint(self.name, protocol)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield the judgements as the host's judge gives them."""
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="judge")
        try:
            futures = {pool.submit(self._judge, q): i for i, q in enumerate(questions)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _judge(self, question: Question) -> Judgement:
        prompt = self._protocol.judge_question(
            question.label_words, question.question, question.answer
        )
        try:
            text = self._model.generate(prompt)
        except Exception as error:  # noqa: BLE001 - the host's code may raise anything
            return Judgement(
                Outcome.FAILED,
                error=redact(f"{type(error).__name__}: {error}", self._secrets),
            )
        if not isinstance(text, str) or not text.strip():
            return Judgement(Outcome.FAILED, error="the host's judge returned no text")
        if FAILURE_TEXT in text:
            return Judgement(Outcome.FAILED, error=redact(text, self._secrets))
        return read_reply(text)
