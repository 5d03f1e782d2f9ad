"""A chat server in its own process that misbehaves on command.

`python -m tests.models.faulty_process` prints its address. A command is a JSON object posted to
``/v1/command``: ``faults`` (what happens to one in `every` conversations, in turn), ``lasting``
(at each attempt, not at the first only) and ``delay`` (seconds a request). It answers with what
was asked since the last one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace
from typing import Any
from urllib.request import Request, urlopen

from tests.models.faulty_server import (
    KEY,
    FaultyServer,
    Reply,
    completion,
    error,
    packed,
    stream,
)


def wrong_model(text: str) -> Reply:
    return Reply(body=str(completion(text).body).replace('"served"', '"another-model"'))


FAULTS = {
    "429": lambda text: error(429, "slow down"),
    "429 later": lambda text: error(429, "slow down", {"Retry-After": "0", "retry-after-ms": "20"}),
    "500": lambda text: error(500, "oops"),
    "reset": lambda text: Reply(fault="reset"),
    "hang": lambda text: Reply(fault="hang"),
    "torn": lambda text: Reply(200, '{"choices": [{"message": {"content": "I s'),
    "no choices": lambda text: Reply(200, '{"choices": []}'),
    "garbage": lambda text: Reply(200, "all fine here", {"Content-Type": "text/plain"}),
    "silent": lambda text: completion(None),
    "too long": lambda text: error(400, "context too long"),
    "filtered": lambda text: completion("", finish="content_filter"),
    "refused to serve": lambda text: error(400, "flagged", code="content_filter"),
    "wrong model": wrong_model,
    "drip": lambda text: replace(completion(text), fault="drip"),
    "huge": lambda text: packed(str(completion("A" * 9_000_000).body).encode()),
    "cut stream": lambda text: stream(text[:4], finish=None, done=False),
    "stream": lambda text: stream(text[:5], text[5:]),
    "unfinished": lambda text: completion(text, finish="error"),
    "leak": lambda text: error(400, f"your header was Authorization: Bearer {KEY}"),
    "no access": lambda text: error(401, f"wrong key {KEY}"),
}
PASSING = (
    *("429", "429 later", "500", "reset", "torn", "no choices", "garbage", "silent"),
    *("cut stream", "unfinished"),
)
FILTERS = ("filtered", "refused to serve")


def said(turns: list[str]) -> str:
    """The answer of the server, a function of all texts of the conversation."""
    return f"I see {zlib.crc32(json.dumps(turns).encode()):08x} in turn {(len(turns) + 1) // 2}."


def texts(messages: list[dict[str, Any]]) -> list[str]:
    """Return the text of each message."""
    return [
        content
        if isinstance(content := message["content"], str)
        else "".join(part.get("text", "") for part in content)
        for message in messages
    ]


class Misbehaving(FaultyServer):
    """Handles requests as the last command demands."""

    def __init__(self) -> None:
        self.command: dict[str, Any] = {}
        super().__init__(self.reply)

    def handle(self, handler: Any) -> None:
        if not handler.path.endswith("/command"):
            super().handle(handler)
            return
        length = int(handler.headers["Content-Length"])
        self.command = json.loads(handler.rfile.read(length))
        with self.lock:
            asked = [texts(body["messages"]) for body in self.requests]
            self.requests, self.attempts = [], {}
        self.send(handler, Reply(body=json.dumps(asked)))

    def reply(self, body: dict[str, Any], attempt: int) -> Reply:
        time.sleep(self.command.get("delay", 0))
        turns = texts(body["messages"])
        faults = self.command.get("faults", [])
        number = zlib.crc32(turns[-1].encode() + turns[0].encode())
        lucky = number % max(1, self.command.get("every", 1))
        if faults and not lucky and (attempt == 1 or self.command.get("lasting")):
            return FAULTS[faults[number // 7 % len(faults)]](said(turns))
        return completion(said(turns))


class ServerProcess:
    """The server from the view of a test.

    Attributes:
        url: Its ``/v1``.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-m", __name__]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def command(self, **command: Any) -> list[list[str]]:
        """Set the behaviour from now on; return the conversations received so far."""
        data = json.dumps(command).encode()
        with urlopen(Request(f"{self.url}/command", data), timeout=30) as reply:
            asked: list[list[str]] = json.loads(reply.read())
        return asked

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


if __name__ == "__main__":
    server = Misbehaving()
    sys.stdout.write(server.url + "\n")
    sys.stdout.flush()
    threading.Event().wait()
