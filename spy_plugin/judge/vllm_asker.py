"""A judge that runs in this process: any text model that vLLM loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spy_plugin.errors import MissingDependencyError
from spy_plugin.judge.base import Judge, Judgement, Question, fingerprint, read_reply
from spy_plugin.protocol import Protocol

_REPLY_TOKENS = 1024
_CHUNK = 1024
"""Questions to the engine at once: many, for its batching; not all, so that verdicts are kept."""


class VLLMJudge(Judge):
    """Ask a local model through its chat template, greedily.

    Args:
        model: Path or repository id.
        options: Arguments of `vllm.LLM`, for example ``{"tensor_parallel_size": 2}``.

    Raises:
        MissingDependencyError: vLLM is not installed.
    """

    def __init__(
        self, model: str, protocol: Protocol, *, options: Mapping[str, Any] | None = None
    ) -> None:
        try:
            import vllm  # noqa: F401 - found out before anything starts; loaded at the first ask
        except ImportError as error:
            raise MissingDependencyError("vllm", "vllm") from error
        self.model, self.protocol, self.options = model, protocol, dict(options or {})
        self.name = f"vllm:{model}"
        own = [f"{key}={value!r}" for key, value in sorted(self.options.items())]
        self.fingerprint = fingerprint(self.name, protocol, *own)
        self._engine: Any = None

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield the judgements, a chunk of the questions at a time."""
        from vllm import LLM, SamplingParams

        if self._engine is None:
            self._engine = LLM(model=self.model, **self.options)
        sampling = SamplingParams(temperature=0.0, max_tokens=_REPLY_TOKENS)
        for start in range(0, len(questions), _CHUNK):
            chats = [
                [{"role": "user", "content": self._prompt(question)}]
                for question in questions[start : start + _CHUNK]
            ]
            for place, output in enumerate(self._engine.chat(chats, sampling, use_tqdm=False)):
                yield start + place, read_reply(output.outputs[0].text)

    def _prompt(self, question: Question) -> str:
        return self.protocol.judge_question(
            question.label_words, question.question, question.answer
        )
