"""Requests through OpenAI's Batch API: half the price, replies within a day.

`submit` uploads requests and returns at once; what was submitted is kept in a file beside the
answers or verdicts, so the terminal may be closed. `status` looks, `replies` brings the results as
a live model's replies (https://platform.openai.com/docs/guides/batch).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.models.base import Conversation, Fault, Reply
from spy_plugin.models.batch_service import ENDPOINT, BatchService
from spy_plugin.models.completions import read_completion
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.models.pictures import data_url, load_ahead
from spy_plugin.models.reply_body import NoCompletionError
from spy_plugin.runs.resumable_file import ResumableFile
from spy_plugin.runs.submitted import Submitted, batch_file, not_submitted, refuse_unsubmitted

if TYPE_CHECKING:
    from openai.types import Batch

logger = logging.getLogger(__name__)

MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000
"""The service takes 50,000 requests and 200 MB a file
(https://platform.openai.com/docs/api-reference/batch/create)."""

_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_NO_RESULT = "the batch holds no result for this question"


class Batches:
    """What was submitted for one file of answers or verdicts.

    Args:
        model: Builds the requests and reads the replies.
        out: The file of answers or verdicts; what was submitted is kept in `x.batch.jsonl`.
        asked: Who is asked, for messages.
        fingerprint: The conditions under which results can be used.
        text_required: See `Conversation`.
    """

    def __init__(
        self,
        model: OpenAIModel,
        out: Path,
        *,
        asked: str,
        fingerprint: str,
        text_required: bool = False,
    ) -> None:
        self.model, self.path = model, batch_file(out)
        self.asked, self.fingerprint, self._text_required = asked, fingerprint, text_required
        self._collected: list[Submitted] = []

    def submit(self, conversations: Iterable[Conversation], known: int = 0) -> list[str]:
        """Submit what is not in a batch already; returns lines to print.

        A conversation whose picture cannot be read is left out, with a warning.

        Args:
            known: How many replies a cache holds, for the lines.

        Raises:
            SpyBenchError: the service refused; what was submitted before is remembered.
        """
        with self._service() as service, self._open() as file:
            waiting = {key for batch in self._confirm(service, file) for key in batch.keys}
            todo = [one for one in conversations if one.key not in waiting]
            lines = [
                f"{len(todo)} requests to submit, {known} known from the cache, "
                f"{len(waiting)} in batches already"
            ]
            about = {"asked": self.asked[:500], "fingerprint": self.fingerprint}
            for number, (keys, data) in enumerate(self._parts(todo), 1):
                batch = Submitted(
                    file=service.upload(f"spy-bench-{number}.jsonl", data),
                    id="",
                    keys=keys,
                    asked=self.asked,
                    fingerprint=self.fingerprint,
                )
                file.add(batch)  # before it is paid for: if we end now, its file finds it
                batch = replace(batch, id=service.start(batch.file, about))
                file.add(batch)
                lines.append(f"batch {batch.id}: {len(keys)} requests")
            empty = not file.records
        if empty:
            return [*lines, "nothing is in a batch, so there is nothing to collect"]
        return [*lines, "look with --batch status; take the results with --batch collect"]

    def status(self) -> list[str]:
        """One line per batch."""
        with self._service() as service:
            return [service.describe(state) for _, state in self._states(service)]

    def replies(self) -> dict[str, Reply]:
        """The reply to each conversation in the batches; one without a result has failed.

        Raises:
            SpyBenchError: a batch has not ended.
        """
        found: dict[str, Reply] = {}
        with self._service() as service:
            batches = self._states(service)
            running = [state for _, state in batches if state.status not in _ENDED]
            if running:
                raise SpyBenchError(
                    f"{len(running)} of {len(batches)} batches have not ended "
                    f"({service.describe(running[0])}). Collect later."
                )
            for batch, state in batches:
                replies = self._results(service, batch, state)
                found |= {key: _failed(key, _NO_RESULT) for key in batch.keys} | replies
                if self._is_complete(service.describe(state), state, len(replies)):
                    self._collected.append(batch)
        return found

    def forget(self) -> None:
        """Leave out of the file what was collected, once its results are stored."""
        with self._open() as file:
            for batch in self._collected:
                file.discard(batch.file)

    def _is_complete(self, about: str, state: Batch, results: int) -> bool:
        """Whether a batch brought what the service says it has; another is collected again."""
        if not state.output_file_id and not state.error_file_id:
            logger.warning("%s, without results", about)
            return True
        counts = state.request_counts
        expected = counts.completed + counts.failed if counts else 0
        if results >= max(1, expected):
            return True
        logger.warning(
            "%s: only %d results match its questions, so it is kept. Collect again; or delete %s "
            "and submit again, which is paid for again",
            about,
            results,
            self.path,
        )
        return False

    def _service(self) -> BatchService:
        return BatchService(self.model)

    @contextmanager
    def _open(self) -> Iterator[ResumableFile[Submitted]]:
        """Open the file of what was submitted; without a batch there is none."""

        def check(batch: Submitted) -> None:
            if batch.fingerprint != self.fingerprint:
                raise DataError(
                    f"was begun by {batch.asked} ({batch.fingerprint}); this is {self.asked} "
                    f"({self.fingerprint})",
                    "To keep both, name another file with --out FILE. To resume this one, use the "
                    "model, protocol and options that it was begun with.",
                    path=self.path,
                )

        file = ResumableFile(self.path, Submitted, "batches", key="file", check=check)
        try:
            with file:
                yield file
        finally:
            if not file.records:
                self.path.unlink(missing_ok=True)

    def _parts(
        self, conversations: Iterable[Conversation]
    ) -> Iterator[tuple[tuple[str, ...], bytes]]:
        """Yield the keys and the lines of each file of requests, within the service's limits."""
        keys: list[str] = []
        lines: list[bytes] = []
        size = 0
        for key, line in self._lines(conversations):
            if keys and (len(keys) >= MAX_REQUESTS or size + len(line) > MAX_BYTES):
                yield tuple(keys), b"".join(lines)
                keys, lines, size = [], [], 0
            keys.append(key)
            lines.append(line)
            size += len(line)
        if keys:
            yield tuple(keys), b"".join(lines)

    def _lines(self, conversations: Iterable[Conversation]) -> Iterator[tuple[str, bytes]]:
        """Yield key and request of each conversation, its picture as a data URL."""
        with closing(load_ahead(conversations, data_url)) as loaded:
            for conversation, picture in loaded:
                try:
                    url = picture.result() if picture else None
                except OSError as error:
                    text = self.model.chat.redact(str(error))
                    logger.warning("%s is not submitted: %s", conversation.key, text)
                    continue
                body = self.model.chat.adaptation.apply(self.model.request(conversation, url))
                request = {
                    "custom_id": conversation.key,
                    "method": "POST",
                    "url": ENDPOINT,
                    "body": {"model": self.model.model} | body,
                }
                yield conversation.key, json.dumps(request).encode() + b"\n"

    def _confirm(self, service: BatchService, file: ResumableFile[Submitted]) -> list[Submitted]:
        """The batches in the file; one whose reply did not reach us is found by what it reads."""
        unconfirmed = [batch for batch in file.records.values() if not batch.id]
        ids = service.batch_ids() if unconfirmed else {}
        for batch in unconfirmed:
            if batch.file in ids:
                file.add(replace(batch, id=ids[batch.file]))
            else:  # it was never made
                file.discard(batch.file)
        return list(file.records.values())

    def _states(self, service: BatchService) -> list[tuple[Submitted, Batch]]:
        """Each batch that was submitted, and its state at the service."""
        refuse_unsubmitted(self.path)
        with self._open() as file:
            batches = self._confirm(service, file)
            if not batches:
                raise not_submitted(self.path)
            return [(batch, service.state(batch.id)) for batch in batches]

    def _results(self, service: BatchService, batch: Submitted, state: Batch) -> dict[str, Reply]:
        """Return the replies in a batch's results, by the key of the conversation."""
        keys, found, foreign = set(batch.keys), {}, 0
        for file_id in (state.error_file_id, state.output_file_id):
            for row in service.rows(file_id) if file_id else ():
                key = str(row.get("custom_id"))
                if key in keys:
                    found[key] = self._reply(key, row)
                else:
                    foreign += 1
        if foreign:
            logger.warning("%s: %d results are to other questions", batch.id, foreign)
        return found

    def _reply(self, key: str, row: Mapping[str, Any]) -> Reply:
        """The reply in a row of a result file, by the rules for live replies."""
        chat = self.model.chat
        response = row.get("response")
        response = response if isinstance(response, dict) else {}
        body = response.get("body")
        if response.get("status_code") == 200:
            limit = self.model.decoding.max_tokens
            try:
                return chat.cleaned(
                    read_completion(key, body, limit=limit, text_required=self._text_required)
                )
            except NoCompletionError as error:
                return _failed(key, chat.redact(str(error)))
        problem = row.get("error") or body or "no response"
        text = json.dumps(problem, ensure_ascii=False)
        return chat.refused(key, problem, f"in the batch: {text}")


def _failed(key: str, error: str) -> Reply:
    return Reply(key, outcome=Outcome.FAILED, error=error, fault=Fault.REQUEST)
