"""An HTTP server that acts as an OpenAI model under test and as a judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from spy_plugin.benchmark.policies import REFUSAL, reply
from spy_plugin.benchmark.records import Sample

MODEL, JUDGE = "model-under-test", "judge-model"
_GENERAL = {"sign": "OPEN", "letter": "A", "Is it": "yes"}


class ChatServer:
    """Answers SPY-Bench prompts as a reference policy, general questions by a table, and judges.

    Attributes:
        asked: The messages of every request to the model under test.
        judged: The prompt of every request to the judge.
        keys: The authorization headers seen, by model.
        fail: Returns the HTTP status for a prompt; 0 to answer it.
    """

    def __init__(self, server: HTTPServer, samples: Iterable[Sample], policy: str) -> None:
        self._by_prompt = {sample.prompt: sample for sample in samples}
        self._policy = policy
        self.asked: list[list[dict[str, Any]]] = []
        self.judged: list[str] = []
        self.keys: dict[str, set[str]] = {}
        self.fail: Callable[[str], int] = lambda prompt: 0
        server.expect_request("/v1/chat/completions", method="POST").respond_with_handler(
            self._handle
        )
        self.url = server.url_for("/v1")

    def _handle(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        self.keys.setdefault(body["model"], set()).add(request.headers.get("Authorization", ""))
        if body["model"] == JUDGE:
            prompt = _text(body["messages"][-1])
            self.judged.append(prompt)
            return _answer("reject" if REFUSAL in prompt else "respond")
        self.asked.append(body["messages"])
        first = _text(body["messages"][0])
        status = self.fail(first)
        if status:
            reason = {"error": {"message": "content_filter", "code": "content_filter"}}
            return Response(json.dumps(reason), status, content_type="application/json")
        return _answer(self._reply(first, len(body["messages"])))

    def _reply(self, prompt: str, messages: int) -> str:
        sample = self._by_prompt.get(prompt)
        if sample is None:
            return next((words for mark, words in _GENERAL.items() if mark in prompt), "?")
        turns = (messages + 1) // 2
        return f"Thinking, turn {turns}." if turns == 2 else reply(self._policy, sample)


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def _answer(text: str) -> Response:
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return Response(json.dumps(body), content_type="application/json")
