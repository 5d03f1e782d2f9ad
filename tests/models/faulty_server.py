"""A chat server on 127.0.0.1 that answers, and misbehaves, on command."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "sk-planted-0123456789abcdef"


@dataclass(frozen=True)
class Reply:
    """A reply.

    Attributes:
        fault: ``reset`` (drop the connection), ``hang`` (send nothing), or ``drip`` (a byte every
            tenth of a second).
    """

    status: int = 200
    body: str | bytes = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


Script = Callable[[dict[str, Any], int], Reply]
"""Maps the body of a request and its attempt to a reply."""


def completion(text: str | None, *, finish: str = "stop", **message: Any) -> Reply:
    """Return a chat completion."""
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "served",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
    }
    return Reply(body=json.dumps(body))


def error(
    status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Reply:
    """Return an error in the format of the API."""
    return Reply(status, json.dumps({"error": {"message": message, **more}}), headers or {})


def stream(
    *texts: str, finish: str | None = "stop", done: bool = True, field: str = "content"
) -> Reply:
    """Return a chat completion as a stream of events."""
    parts = [{"delta": {"role": "assistant", field: text}} for text in texts]
    if finish is not None:
        parts.append({"delta": {}, "finish_reason": finish})
    events = [json.dumps({"model": "served", "choices": [part]}) for part in parts]
    body = "".join(f"data: {event}\n\n" for event in [*events, *(["[DONE]"] if done else [])])
    return Reply(body=body, headers={"Content-Type": "text/event-stream"})


def packed(*parts: bytes) -> Reply:
    """Return a body that is sent with gzip."""
    packing = zlib.compressobj(6, zlib.DEFLATED, 31)
    data = b"".join([*map(packing.compress, parts), packing.flush()])
    return Reply(body=data, headers={"Content-Encoding": "gzip"})


def retry_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waiting time between attempts, which is 0.5 s and more."""
    monkeypatch.setattr("spy_plugin.models.openai_client._FIRST_DELAY", 0.01)
    monkeypatch.setattr("spy_plugin.models.pacing._FIRST_PAUSE", 0.01)


@contextmanager
def servers() -> Iterator[Callable[[Script], FaultyServer]]:
    """Yield a function that starts servers; all are stopped at the end."""
    started: list[FaultyServer] = []

    def start(script: Script) -> FaultyServer:
        started.append(FaultyServer(script))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.close()


class FaultyServer:
    """A server. `script(body, attempt)` returns the reply; attempts of a conversation start at 1.

    Attributes:
        requests, paths, headers: Of all requests.
        attempts: Number of requests per conversation.
        most_at_once: Highest number of requests in flight.
    """

    def __init__(self, script: Callable[[dict[str, Any], int], Reply]) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.attempts: dict[str, int] = {}
        self.in_flight = self.most_at_once = 0
        self.lock = threading.Lock()
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.handle(self)

            def log_message(self, *args: Any) -> None:
                """Log nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # with the default of 5, a client with many connections waits

        self.http = Server(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        prompt = str(body["messages"])
        with self.lock:
            self.requests.append(body)
            self.paths.append(handler.path)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            self.attempts[prompt] = self.attempts.get(prompt, 0) + 1
            attempt = self.attempts[prompt]
            self.in_flight += 1
            self.most_at_once = max(self.most_at_once, self.in_flight)
        try:
            self.send(handler, self.script(body, attempt))
        finally:
            with self.lock:
                self.in_flight -= 1

    def send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.fault == "hang":
            self.released.wait(30)
            handler.close_connection = True
            return
        if reply.fault == "reset":
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        data = reply.body.encode() if isinstance(reply.body, str) else reply.body
        handler.send_response(reply.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        for name, value in (headers | dict(reply.headers)).items():
            handler.send_header(name, value)
        handler.end_headers()
        with contextlib.suppress(ConnectionError):  # the client has had enough
            if reply.fault != "drip":
                handler.wfile.write(data)
            for start in range(len(data) if reply.fault == "drip" else 0):
                handler.wfile.write(data[start : start + 1])
                if self.released.wait(0.1):
                    break

    def close(self) -> None:
        self.released.set()
        self.http.shutdown()
        self.http.server_close()
