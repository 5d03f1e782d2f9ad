"""A judge behind an OpenAI-compatible server: OpenAI's own, another provider's, a `vllm serve`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging.base import Judge, Judgement, Question, fingerprint
from spy_plugin.judging.completion import read_completion
from spy_plugin.models.concurrency import run_async
from spy_plugin.models.openai_client import (
    ChatClient,
    FailureBudget,
    RequestFailedError,
    RequestFilteredError,
    is_reasoning,
)

if TYPE_CHECKING:
    import openai

WORDS = ("respond", "reject")

STRUCTURED: Mapping[str, Mapping[str, Any]] = {
    "choice": {"extra_body": {"structured_outputs": {"choice": list(WORDS)}}},
    "json": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "verdict",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"label": {"type": "string", "enum": list(WORDS)}},
                    "required": ["label"],
                    "additionalProperties": False,
                },
            },
        }
    },
}
"""Ways to let the server allow nothing but the two words: vLLM's, and OpenAI's."""

_REPLY_TOKENS = 1024


@dataclass(frozen=True)
class Settings:
    """How the server is asked.

    Attributes:
        concurrency: Requests in flight at most.
        retries: Further attempts after a first that failed.
        timeout: Seconds an attempt may take.
        structured: ``choice`` or ``json`` (keys of `STRUCTURED`), or None for plain text.
        extra: Further fields of the request.
    """

    concurrency: int = 16
    retries: int = 5
    timeout: float = 60.0
    structured: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class OpenAIJudge(Judge):
    """Ask a chat model, temperature 0, several requests at a time.

    Args:
        model: Name at the server.
        protocol: Gives the judge prompt.
        api_key: Never written anywhere; error texts are searched for it.
        base_url: The server's ``/v1``; None for OpenAI's own.
    """

    def __init__(
        self,
        model: str,
        protocol: Protocol,
        *,
        api_key: str,
        base_url: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.model, self.protocol = model, protocol
        self.settings = settings or Settings()
        self.chat = ChatClient(
            model,
            api_key=api_key,
            base_url=base_url,
            retries=self.settings.retries,
            timeout=self.settings.timeout,
        )
        self.name = f"openai:{model}"
        own = [f"{key}={value!r}" for key, value in sorted(self.settings.extra.items())]
        self.fingerprint = fingerprint(
            self.name, protocol, *filter(None, [self.settings.structured]), *own
        )

    def request(self, question: Question) -> dict[str, Any]:
        """The request for one question, without the model."""
        prompt = self.protocol.judge_question(
            question.label_words, question.question, question.answer
        )
        body: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}]}
        if not is_reasoning(self.model):
            body |= {"temperature": 0.0, "max_tokens": _REPLY_TOKENS}
        if self.settings.structured:
            body |= STRUCTURED[self.settings.structured]
        return body | dict(self.settings.extra)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield the judgements as the server gives them.

        Raises:
            JudgeSetupError: the first request was refused for its key or model, or the first 20,
                or later 100 in a row, failed. What was yielded before stands.
        """
        check = "JUDGE_API_KEY, JUDGE_BASE_URL and the model's name"
        budget = FailureBudget(self.name, check, JudgeSetupError)

        def count(found: tuple[int, Judgement]) -> None:
            failed = found[1].outcome is Outcome.FAILED
            budget.count(found[1].error if failed else None)

        yield from run_async(
            enumerate(questions),
            self.chat.connect,
            self._judge,
            concurrency=min(self.settings.concurrency, len(questions)),
            check=count,
        )

    async def _judge(
        self, client: openai.AsyncOpenAI, numbered: tuple[int, Question]
    ) -> tuple[int, Judgement]:
        """Ask one question; every way to fail ends in a judgement."""
        index, question = numbered
        try:
            return index, await self.chat.complete(client, self.request(question), read_completion)
        except RequestFilteredError as error:
            return index, Judgement(Outcome.UNJUDGED, error=str(error))
        except RequestFailedError as error:
            return index, Judgement(Outcome.FAILED, error=str(error))
