"""A judge behind an OpenAI-compatible server: OpenAI's own, another provider's, a `vllm serve`.

Requests run in an event loop of their own in a thread of their own, so that a host may call from
a thread or from inside a running loop. Waiting, `Retry-After` and retries are the client
library's; answers that are no completion at all (torn JSON, no choices) are asked for again here.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spy_plugin.errors import JudgeSetupError
from spy_plugin.judge.base import Judge, Judgement, Question, fingerprint
from spy_plugin.judge.completion import NoCompletionError, read_completion
from spy_plugin.judge.scrub import scrub
from spy_plugin.protocol import Protocol
from spy_plugin.records import Outcome

if TYPE_CHECKING:
    import openai

logger = logging.getLogger(__name__)

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

_REASONING = ("o1", "o3", "o4", "gpt-5")
"""Model names that begin so take neither a temperature nor `max_tokens`."""

_REPLY_TOKENS = 1024
_DROPPABLE = ("temperature", "max_tokens")
_HOPELESS = ("AuthenticationError", "PermissionDeniedError", "NotFoundError", "(ConnectError")
"""Failures that, if the first request ends so, all will: key, access, model, no such server."""

_FIRST_DELAY = 0.25
_TOO_MANY_AT_FIRST, _TOO_MANY_IN_A_ROW = 20, 100


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
        self.model, self.protocol, self.base_url = model, protocol, base_url
        self.settings = settings or Settings()
        self._api_key = api_key
        self._dropped: set[str] = set()
        self._said: set[str] = set()
        self.name = f"openai:{model}"
        own = [f"{key}={value!r}" for key, value in sorted(self.settings.extra.items())]
        self.fingerprint = fingerprint(
            self.name, protocol, *filter(None, [self.settings.structured]), *own
        )

    def request(self, question: Question) -> dict[str, Any]:
        """The body of the request for one question."""
        prompt = self.protocol.judge_question(
            question.label_words, question.question, question.answer
        )
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
        }
        if not self.model.rpartition("/")[2].startswith(_REASONING):
            body |= {"temperature": 0.0, "max_tokens": _REPLY_TOKENS}
        for name in self._dropped:
            body.pop(name, None)
        if self.settings.structured:
            body |= STRUCTURED[self.settings.structured]
        return body | dict(self.settings.extra)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield the judgements as the server gives them.

        Raises:
            JudgeSetupError: the first request was refused for its key or model, or the first 20,
                or later 100 in a row, failed. What was yielded before stands.
        """
        results: queue.SimpleQueue[tuple[int, Judgement] | BaseException | None]
        results = queue.SimpleQueue()
        run = _Run(self, questions, results)
        thread = threading.Thread(target=run.main, name="judge", daemon=True)
        thread.start()
        try:
            while (item := results.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            run.stop()
            thread.join()

    def client(self) -> openai.AsyncOpenAI:
        """A client of the library, to be used in one event loop."""
        import openai

        return openai.AsyncOpenAI(**self._client_options())

    def sync_client(self) -> openai.OpenAI:
        """A client for what is not judging itself, such as batches."""
        import openai

        return openai.OpenAI(**self._client_options())

    def _client_options(self) -> dict[str, Any]:
        return {
            "api_key": self._api_key,
            "base_url": self.base_url,
            "max_retries": self.settings.retries,
            "timeout": self.settings.timeout,
        }

    def scrub(self, text: str) -> str:
        """The text without the key."""
        return scrub(text, [self._api_key])

    async def judge(self, client: openai.AsyncOpenAI, question: Question) -> Judgement:
        """Ask one question; every way to fail ends in a judgement, or in `JudgeSetupError`."""
        import openai

        error = ""
        for attempt in range(self.settings.retries + 1):
            try:
                completion = await client.chat.completions.create(**self.request(question))
                return self.read(completion)
            except openai.BadRequestError as refusal:
                if self._drop_unsupported(refusal):
                    continue
                if "content_filter" in f"{refusal.code} {refusal.body}":
                    return Judgement(Outcome.UNJUDGED, error="the provider filtered the question")
                return Judgement(Outcome.FAILED, error=self._message(refusal))
            except (openai.APIResponseValidationError, NoCompletionError, ValueError) as broken:
                error = self._message(broken)
                if attempt < self.settings.retries:
                    await asyncio.sleep(min(_FIRST_DELAY * 2**attempt, 8))
            except openai.OpenAIError as failure:
                return Judgement(Outcome.FAILED, error=self._message(failure))
        return Judgement(Outcome.FAILED, error=error)

    def read(self, completion: Any) -> Judgement:
        """Read what the library returned: a completion, or text where the server sent no JSON."""
        body = completion.to_dict() if hasattr(completion, "to_dict") else None
        if body is not None:
            self._check_model(body.get("model"))
        return read_completion(body)

    def _drop_unsupported(self, refusal: openai.BadRequestError) -> bool:
        """Learn from a refusal which sampling field the model does not take."""
        text = f"{refusal.param} {refusal.message}"
        for name in _DROPPABLE:
            if name in text and name not in self._dropped:
                self._dropped.add(name)
                self._warn(f"{self.name} does not take {name}; asked without it")
                return True
        return False

    def _check_model(self, served: object) -> None:
        if isinstance(served, str) and served and self.model.rpartition("/")[2] not in served:
            self._warn(f"asked {self.model}, but the server says that {served} answered")

    def _warn(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", self.scrub(text))

    def _message(self, error: Exception) -> str:
        # The library says "Connection error."; what it caught says more.
        cause = error.__cause__
        more = f" ({type(cause).__name__}: {cause})" if cause else ""
        return self.scrub(f"{type(error).__name__}: {error}{more}")


class _Run:
    """One call of `ask`: its thread, its loop, its workers."""

    def __init__(
        self, judge: OpenAIJudge, questions: Sequence[Question], results: queue.SimpleQueue[Any]
    ) -> None:
        self.judge, self.results = judge, results
        self.todo = iter(enumerate(questions))
        self.size = len(questions)
        self.failed_in_a_row, self.any_success = 0, False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[None] | None = None
        self.started = threading.Event()

    def main(self) -> None:
        """Body of the thread: whatever ends it, the reader is told."""
        try:
            asyncio.run(self.run())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
            self.results.put(error)
        finally:
            self.started.set()
            self.results.put(None)

    def stop(self) -> None:
        """End the workers, if the reader has had enough; harmless after the end."""
        self.started.wait()
        if self.loop is not None and self.task is not None and not self.loop.is_closed():
            try:
                self.loop.call_soon_threadsafe(self.task.cancel)
            except RuntimeError:  # closed in between
                return

    async def run(self) -> None:
        """Work through the questions with a bounded number of workers."""
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        self.started.set()
        async with self.judge.client() as client:
            count = min(self.judge.settings.concurrency, self.size)
            workers = [asyncio.ensure_future(self.work(client)) for _ in range(count)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def work(self, client: openai.AsyncOpenAI) -> None:
        """Ask one question after another until there is none left."""
        for index, question in self.todo:
            judgement = await self.judge.judge(client, question)
            self.results.put((index, judgement))
            self.count(judgement)

    def count(self, judgement: Judgement) -> None:
        """Stop early where going on is in vain.

        Raises:
            JudgeSetupError: nothing worked yet and the failure is a hopeless one, or very many
                requests failed in a row.
        """
        if judgement.outcome is not Outcome.FAILED:
            self.failed_in_a_row, self.any_success = 0, True
            return
        self.failed_in_a_row += 1
        if not self.any_success and any(name in judgement.error for name in _HOPELESS):
            raise JudgeSetupError(
                f"{self.judge.name} cannot be asked: {judgement.error}. Check JUDGE_API_KEY, "
                "JUDGE_BASE_URL and the model's name."
            )
        limit = _TOO_MANY_IN_A_ROW if self.any_success else _TOO_MANY_AT_FIRST
        if self.failed_in_a_row >= limit:
            raise JudgeSetupError(
                f"{self.failed_in_a_row} requests to {self.judge.name} failed in a row, the last "
                f"with {judgement.error}. Verdicts so far are kept; run again when the server is "
                "well."
            )
