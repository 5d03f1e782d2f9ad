"""An OpenAI-compatible server on 127.0.0.1 that answers, and misbehaves, on command."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

Reply = str | Response


class ChatServer:
    """Records requests; `answer(text)` returns the text of the reply, or a response."""

    def __init__(self, server: HTTPServer, answer: Callable[[str], Reply]) -> None:
        self.url = server.url_for("/v1")
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.limits: list[Any] = []
        self._answer, self._lock = answer, threading.Lock()
        server.expect_request("/v1/chat/completions", method="POST").respond_with_handler(
            self._handle
        )
        server.expect_request("/v1/models").respond_with_json(
            {"object": "list", "data": [{"id": "served", "object": "model"}]}
        )

    def _handle(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        text = message_text(body["messages"][-1]["content"])
        with self._lock:
            self.asked.append(text)
            self.headers.append(dict(request.headers))
            self.limits.append(body.get("max_tokens"))
        reply = self._answer(text)
        return reply if isinstance(reply, Response) else completion(reply)


def message_text(content: str | list[dict[str, Any]]) -> str:
    """Return the text parts of a message."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def completion(text: str) -> Response:
    """Return a chat completion in the format of the API."""
    message = {"role": "assistant", "content": text}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "served",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
    }
    return Response(json.dumps(body), content_type="application/json")


class Troubled:
    """Fails the first request for each text in one of several ways, then answers correctly."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self._answer, self._lock = answer, threading.Lock()
        self._seen: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()

    def __call__(self, text: str) -> Reply:
        with self._lock:
            self._seen[text] += 1
            first = self._seen[text] == 1
            trouble = len(self._seen) % 10 if first else 9
        if trouble == 0:
            return self._fail("429", Response("slow down", 429, {"Retry-After": "0"}))
        if trouble == 1:
            return self._fail("500", Response("oops", 500))
        if trouble == 2:
            self._fail("slow", None)
            time.sleep(0.3)
        if trouble == 3:
            self._fail("garbage", None)
            return "I would rather not say."
        return self._answer(text)

    def _fail(self, name: str, response: Response | None) -> Response:
        with self._lock:
            self.troubles[name] += 1
        return response or Response()
