"""Ask an OpenAI-compatible server for chat completions: OpenAI's own, another's, a `vllm serve`.

Connections and errors are the openai package's. Attempts are counted here, since the refusals of a
server that limits the rate concern all requests, not one. Nothing that a server sends is trusted.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.adaptation import Adaptation, token_limit
from spy_plugin.models.base import Fault, Reply
from spy_plugin.models.bounded_http import (
    HEADERS,
    ReplyTooLargeError,
    UnreadableReplyError,
    bounded_client,
    sync_client,
)
from spy_plugin.models.completions import FILTERED_QUESTION, SETUP_STATUS, read_completion
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.pacing import MAX_WAIT, Pace, retry_after
from spy_plugin.models.redact import redact, without_secrets
from spy_plugin.models.refusals import error_object, filtered_request, out_of_quota
from spy_plugin.models.reply_body import NoCompletionError, parse_body
from spy_plugin.models.servers import Server

if TYPE_CHECKING:
    import openai

logger = logging.getLogger(__name__)

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 8.0
_REFUSALS_PER_RETRY = 2
"""Other requests use up the rate, too: it may refuse one more often than faults may hit it."""

_PASSING_STATUS = (408, 409, 421, 424, 425, 499)
"""Beside those from 500 on; TGI has 424 for a broken generation, Vertex 499 for a cancelled one."""

_STREAM_HINT = " Pass --request-args '{\"stream\": true}' to a server that only streams."


class _AgainError(Exception):
    """Another attempt may end better.

    Attributes:
        fault: What the failure means if no attempt is left.
        busy: The server limits the rate.
        wait: Seconds that it asks to wait; None if it does not say.
    """

    def __init__(
        self,
        message: str,
        fault: Fault = Fault.SERVER,
        *,
        busy: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.fault, self.busy, self.wait = fault, busy, wait


def quiet_logs() -> None:
    """Keep the client library's retries out of the log, where they would break the progress bar."""
    for name in ("openai", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)


class ChatClient:
    """Asks one model, and learns which sampling fields and what rate its server takes.

    Args:
        model: Its name at the server.
        server: Address and key.
        options: Its number of retries and its time for an attempt apply.
        headers, query: Sent along with each request.
        secrets: What must not be written, beside the server's own secrets.

    Attributes:
        adaptation: What the server does not take.
    """

    def __init__(
        self,
        model: str,
        server: Server,
        options: ModelOptions,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self.model, self.retries, self.timeout = model, options.retries, options.timeout
        self._secrets = [*server.secrets, *secrets]
        self._options: dict[str, Any] = {
            "api_key": server.key,
            "base_url": server.url,
            "timeout": options.timeout,
            "default_headers": {**HEADERS, **server.headers, **(headers or {})},
            "default_query": {**server.query, **(query or {})},
        }
        self.adaptation, self._pace = Adaptation(), Pace()
        self._said: set[str] = set()

    def connect(self) -> openai.AsyncOpenAI:
        """A client of the library, to be used in one event loop.

        Raises:
            ModelSetupError: the environment names a proxy or certificates that cannot be used.
        """
        import openai

        http_client = bounded_client(timeout=self.timeout)
        return openai.AsyncOpenAI(**self._options, max_retries=0, http_client=http_client)

    def connect_sync(self) -> openai.OpenAI:
        """A client for requests other than completions, such as batches.

        Raises:
            ModelSetupError: as `connect`.
        """
        import openai

        retries = self.retries
        return openai.OpenAI(**self._options, max_retries=retries, http_client=sync_client())

    def redact(self, text: str) -> str:
        """The text on one line without secrets."""
        return redact(text, self._secrets)

    def refused(
        self, key: str, problem: object, message: str, fault: Fault = Fault.REQUEST
    ) -> Reply:
        """The reply to a request that the server refused, alone or in a batch.

        Args:
            problem: The server's error as plain JSON.
            message: What to record, unless the provider filtered the request.
        """
        if filtered_request(problem):
            return Reply(key, outcome=Outcome.FILTERED, error=FILTERED_QUESTION)
        return Reply(key, outcome=Outcome.FAILED, error=self.redact(message), fault=fault)

    async def complete(
        self,
        client: openai.AsyncOpenAI,
        key: str,
        body: Mapping[str, Any],
        *,
        text_required: bool = False,
    ) -> Reply:
        """Send one request; every way to fail ends in a reply.

        Args:
            key: The conversation's.
            body: The request, without the model.
        """
        failures = refusals = 0
        first_refusal = 0.0
        while True:
            fields = self.adaptation.apply(body)
            began = await self._pace.turn()
            try:
                reply = await self._attempt(client, key, fields, text_required)
            except _AgainError as again:
                if again.busy:
                    refusals += 1
                    first_refusal = first_refusal or began
                    error = self._rate_error(again, refusals, first_refusal)
                    if not error:
                        self._pace.refused(began, again.wait)
                else:
                    failures += 1
                    error = str(again) if failures > self.retries else ""
                    if not error:
                        await anyio.sleep(_delay(failures))
                if error:
                    text = self.redact(error)
                    return Reply(key, outcome=Outcome.FAILED, error=text, fault=again.fault)
                continue
            if reply is not None:
                return self.cleaned(reply)

    async def _attempt(
        self,
        client: openai.AsyncOpenAI,
        key: str,
        fields: Mapping[str, Any],
        text_required: bool,
    ) -> Reply | None:
        """Send a request once; None if the server does not take one of its fields.

        Raises:
            _AgainError: another attempt may end better.
        """
        import openai

        try:
            with anyio.fail_after(self.timeout):
                # Fields that the library does not know go into the body as well.
                sent = await client.chat.completions.with_raw_response.create(
                    model=self.model, messages=[], extra_body=fields
                )
            self._pace.accepted()
            body = parse_body(sent.http_response.content)
            reply = read_completion(
                key, body, limit=token_limit(fields), text_required=text_required
            )
        except openai.APIStatusError as refusal:
            return self._after_refusal(key, refusal, fields)
        except NoCompletionError as broken:
            raise _AgainError(str(broken)) from None
        except (TimeoutError, openai.APITimeoutError):
            text = f"Timeout: no complete reply within {self.timeout:g} s (--timeout)"
            raise _AgainError(text) from None
        except (UnreadableReplyError, openai.APIConnectionError) as failure:
            cause = failure.__cause__ or failure  # some versions of the library wrap ours, too
            if isinstance(cause, ReplyTooLargeError):
                return Reply(key, outcome=Outcome.FAILED, error=str(cause), fault=Fault.REQUEST)
            text = f"{type(failure).__name__}: {failure} ({type(cause).__name__}: {cause})"
            unreachable = type(cause).__name__ == "ConnectError"
            raise _AgainError(text, Fault.SETUP if unreachable else Fault.SERVER) from None
        self._check_model(reply)
        return reply

    def _after_refusal(
        self, key: str, refusal: openai.APIStatusError, fields: Mapping[str, Any]
    ) -> Reply | None:
        """What follows from an HTTP status that is not success.

        Raises:
            _AgainError: another attempt may end better.
        """
        status, problem = refusal.status_code, error_object(refusal.body)
        wait = retry_after(refusal.response.headers, problem)
        text, said = f"{type(refusal).__name__}: {refusal}", refusal.response.text
        if refusal.message == f"Error code: {status}":  # an error in another form than the API's
            text += f": {said[:1000]}"
        no_quota = status == 429 and out_of_quota(problem)
        if (status == 429 and not no_quota) or (status in (503, 529) and wait is not None):
            raise _AgainError(text, busy=True, wait=wait)
        self._pace.accepted()
        if status in (400, 422):
            param = getattr(refusal, "param", None)
            learned = self.adaptation.learn(param, f"{refusal.message} {said}", fields)
            if learned:
                self._warn(f"{self.model} {learned}")
            if self.adaptation.apply(fields) != fields:
                return None
            if "stream" in refusal.message and not fields.get("stream"):
                text += _STREAM_HINT
        if status >= 500 or status in _PASSING_STATUS:
            raise _AgainError(text)
        if 300 <= status < 400:
            text = (
                f"the server redirects (status {status}) to "
                f"{refusal.response.headers.get('location', 'nowhere')}, which is not followed, "
                "as the key is not meant for it. Give the final address"
            )
        setup = no_quota or status in SETUP_STATUS or 300 <= status < 400
        return self.refused(key, problem, text, Fault.SETUP if setup else Fault.REQUEST)

    def cleaned(self, reply: Reply) -> Reply:
        """The reply without secrets, which a server or a model may repeat."""
        return replace(
            reply,
            text=without_secrets(reply.text, self._secrets),
            thoughts=without_secrets(reply.thoughts, self._secrets),
            finish_reason=without_secrets(reply.finish_reason, self._secrets),
            answered_by=without_secrets(reply.answered_by, self._secrets),
            error=self.redact(reply.error),
        )

    def _rate_error(self, refusal: _AgainError, refusals: int, first: float) -> str:
        """Why a request that was refused for the rate has failed; empty if it may wait longer."""
        self._warn(f"the server of {self.model} limits the rate of requests; slowing down")
        waited = anyio.current_time() - first
        if waited + (refusal.wait or 0) > MAX_WAIT:
            asked = "" if refusal.wait is None else f" and asks to wait {refusal.wait:.0f} s"
            return (
                f"the server limits the rate{asked}; a request waits at most {MAX_WAIT:.0f} s: "
                f"{refusal}"
            )
        times = max(refusals, self._pace.pauses_in_vain)
        if times > _REFUSALS_PER_RETRY * self.retries:
            return f"the server limits the rate; it refused {times} times in a row: {refusal}"
        return ""

    def _check_model(self, reply: Reply) -> None:
        served = reply.answered_by
        if served and self.model.rpartition("/")[2] not in served:
            self._warn(f"asked {self.model}, but the server says that {served} answered")

    def _warn(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", self.redact(text))


def _delay(failures: int) -> float:
    """Seconds to wait after a number of failures, a little different for each request."""
    return min(_FIRST_DELAY * 2.0 ** (failures - 1), _LONGEST_DELAY) * random.uniform(0.75, 1)
