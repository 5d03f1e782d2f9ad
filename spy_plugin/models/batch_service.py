"""OpenAI's Batch API, as far as it is needed: files of requests, batches, files of results."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.text import storable_json
from spy_plugin.files.writing import Closing
from spy_plugin.models.openai_model import OpenAIModel

if TYPE_CHECKING:
    from openai.types import Batch

logger = logging.getLogger(__name__)

ENDPOINT: Final = "/v1/chat/completions"


class BatchService(Closing):
    """A connection to the service that a model is behind.

    Every method raises `SpyBenchError` where the service refuses, cannot be reached, or answers
    what is not of the API's form.
    """

    def __init__(self, model: OpenAIModel) -> None:
        self._chat, self._check = model.chat, model.check
        self._client = model.chat.connect_sync()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def upload(self, name: str, data: bytes) -> str:
        """Upload a file of requests; returns its id."""
        with self._refusals():
            uploaded = self._client.files.create(file=(name, data), purpose="batch")
            file_id = getattr(uploaded, "id", None)
            if not (isinstance(file_id, str) and file_id):
                raise ValueError("its reply to a file names no id")
            return file_id

    def start(self, file_id: str, metadata: dict[str, str]) -> str:
        """Start the requests of a file; returns the batch's id."""
        with self._refusals():
            # Once, without retries: a batch whose reply got lost would be paid for twice.
            batch = self._client.with_options(max_retries=0).batches.create(
                input_file_id=file_id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata=metadata,
            )
            return _checked(batch).id

    def batch_ids(self) -> dict[str, str]:
        """Return every batch: id of the file of requests -> id of the batch."""
        with self._refusals():
            batches = [_checked(batch) for batch in self._client.batches.list(limit=100)]
            return {batch.input_file_id: batch.id for batch in batches}

    def state(self, batch_id: str) -> Batch:
        """Return what the service says of a batch."""
        with self._refusals():
            return _checked(self._client.batches.retrieve(batch_id))

    def rows(self, file_id: str) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects in a result file; other lines are counted in a warning."""
        with self._refusals():
            text = self._client.files.content(file_id).text
        wrong = 0
        for line in filter(str.strip, text.split("\n")):
            try:
                row = storable_json(json.loads(line))
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                yield row
            else:
                wrong += 1
        if wrong:
            logger.warning("%d lines of result file %s are not JSON objects", wrong, file_id)

    def describe(self, state: Batch) -> str:
        """Return a line for a person."""
        counts = state.request_counts
        done = f"{counts.completed} of {counts.total}, {counts.failed} failed" if counts else ""
        errors = state.errors.data or [] if state.errors else []
        said = "; ".join(str(error.message) for error in errors)
        parts = [f"batch {state.id}: {state.status}", done, self._chat.redact(said)]
        return ", ".join(part for part in parts if part)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Say what the service answered in place of what was asked."""
        import openai

        try:
            yield
        except (openai.OpenAIError, ValueError, RecursionError, AttributeError, TypeError) as error:
            # The library takes any JSON, or text, for what it asked for.
            # Raised `from None`: the library's error may hold what the server echoed, the key
            # included.
            text = self._chat.redact(f"{type(error).__name__}: {error}").rstrip(".")
            raise SpyBenchError(
                f"the batch service refused: {text}. Check {self._check}, and run again; what was "
                "submitted is remembered."
            ) from None


def _checked(state: Batch) -> Batch:
    """Return the state of a batch, whose form the library promises but does not check."""
    from openai.types import Batch

    return Batch.model_validate(state.model_dump() if isinstance(state, Batch) else state)
