"""A judge that runs in this process: any text model that vLLM loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging.base import Judge, Judgement, Question, fingerprint, read_reply
from spy_plugin.models.base import ModelSetupError
from spy_plugin.models.vllm_engine import Chat, Engine, Finished, Messages, require_vllm

_REPLY_TOKENS = 1024
_STRUCTURED = (None, "choice")


class VLLMJudge(Judge):
    """Ask a local model through its chat template, greedily.

    Args:
        model: Path or repository id.
        options: Arguments of `vllm.LLM`, for example ``{"tensor_parallel_size": 2}``; and
            ``structured``: with ``choice`` the model can say nothing but one of the two words.

    Raises:
        MissingDependencyError: vLLM is not installed.
        JudgeSetupError: `structured` is something else.
    """

    def __init__(
        self, model: str, protocol: Protocol, *, options: Mapping[str, Any] | None = None
    ) -> None:
        self.options = dict(options or {})
        own = [f"{key}={value!r}" for key, value in sorted(self.options.items())]
        self._structured = self.options.pop("structured", None)
        if self._structured not in _STRUCTURED:
            raise JudgeSetupError(
                f"structured is {self._structured!r}. Use choice with vllm, or leave it out."
            )
        require_vllm()  # found out before anything starts; the model is loaded at the first ask
        self.model, self.protocol = model, protocol
        self.name = f"vllm:{model}"
        self.fingerprint = fingerprint(self.name, protocol, *own)
        self._engine: Engine | None = None

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield each judgement as soon as the engine has it.

        Raises:
            JudgeSetupError: vLLM cannot load the model, or its engine died.
        """
        try:
            if self._engine is None:
                self._engine = Engine(self.model, self.options)
            chats = (
                Chat(str(index), partial(self._messages, question))
                for index, question in enumerate(questions)
            )
            for finished in self._engine.run(chats, self._sampling()):
                yield int(finished.key), _judgement(finished)
        except ModelSetupError as error:
            raise JudgeSetupError(str(error)) from error

    def _sampling(self) -> Any:
        from vllm import SamplingParams

        if self._structured is None:
            return SamplingParams(temperature=0.0, max_tokens=_REPLY_TOKENS)
        from vllm.sampling_params import StructuredOutputsParams

        words = [Outcome.RESPOND.value, Outcome.REJECT.value]
        return SamplingParams(
            temperature=0.0,
            max_tokens=_REPLY_TOKENS,
            structured_outputs=StructuredOutputsParams(choice=words),
        )

    def _messages(self, question: Question) -> Messages:
        text = self.protocol.judge_question(
            question.label_words, question.question, question.answer
        )
        return [{"role": "user", "content": text}]


def _judgement(finished: Finished) -> Judgement:
    if finished.error:
        return Judgement(Outcome.FAILED, error=finished.error)
    return read_reply(finished.text)
