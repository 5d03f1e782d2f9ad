"""A real HTTP server of files, with ranges and faults, for tests of downloads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Served:
    """The files of the server, its faults, and the requests that it received.

    Attributes:
        files: URL path -> content.
        drop_after: For each of the next requests, the bytes after which the connection drops.
        statuses: For each of the next requests, the status to answer with, without content.
        headers: Headers of every response, in place of the usual ones; "" leaves one out.
        ranges: The Range header of each request; "" if there was none.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"one"'
    content_type: str = "application/octet-stream"
    location: str = ""
    drop_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def served() -> Iterator[Served]:
    """Start a server on a free local port."""
    facts = Served()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            facts.ranges.append(self.headers.get("Range", ""))
            if facts.statuses:
                self.send_response(facts.statuses.pop(0))
                self._send_headers({"Location": facts.location, "Content-Length": "0"})
                return
            self._send(facts.files[self.path])

        def _send_headers(self, usual: dict[str, str]) -> None:
            for name, value in (usual | facts.headers).items():
                if value:
                    self.send_header(name, value)
            self.end_headers()

        def _send(self, content: bytes) -> None:
            start, headers = 0, {"ETag": facts.etag, "Content-Type": facts.content_type}
            wanted = self.headers.get("Range", "")
            if wanted and self.headers.get("If-Range") == facts.etag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                self.send_response(206)
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            else:
                self.send_response(200)
            self._send_headers(headers | {"Content-Length": str(len(content) - start)})
            end = start + facts.drop_after.pop(0) if facts.drop_after else len(content)
            self.wfile.write(content[start:end])
            if end < len(content) or "Content-Length" in facts.headers:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    facts.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield facts
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_host_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide hosts that other tests imported, since downloads would otherwise be refused."""
    monkeypatch.delitem(sys.modules, "vlmeval", raising=False)
