"""What the pages ask: a chat server that refuses all but drafts, with OpenAI's Batch API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from spy_plugin.own.asking import PROMPT
from tests.hosts.chat_server import ChatServer
from tests.judging.test_batch import BatchService, answered

REPLY = "reject"
"""An answer of which nobody thinks that it gives anything away, and a verdict."""
DRAFT = '[{"label": "full_name", "question": "Whose card is this?", "ground_truth": "Ann"}]'
"""What is drafted about every picture; a new form has this label."""


class QuickBatches(BatchService):
    """Finishes a batch at once, not within a day."""

    def create(self, request: Request) -> Response:
        reply = super().create(request)
        self.finish(lambda prompt: answered(REPLY))
        return reply


@contextmanager
def server() -> Iterator[str]:
    """The address of the server, ending in /v1."""
    with HTTPServer(host="127.0.0.1", threaded=True) as http:
        QuickBatches(http)
        yield ChatServer(http, _reply).url


def _reply(text: str) -> str:
    return DRAFT if text.startswith(PROMPT[:40]) else REPLY
