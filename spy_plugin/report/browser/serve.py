"""Show pages on this machine alone, at an address that cannot be guessed."""

from __future__ import annotations

import json
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.home import system_problem
from spy_plugin.files.writing import Closing, replacing
from spy_plugin.report.browser.pictures import SIDE, thumbnail

HOST = "127.0.0.1"

Action = Callable[[Any], Any]
"""Takes and returns JSON; a `SpyBenchError` is shown to the person."""

MAX_BODY = 1_000_000
"""Bytes of a request to an action; more is refused unread."""

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The page itself holds the policy on scripts, styles and pictures."""


class BrowserServer(Closing):
    """Serves the files of a folder on 127.0.0.1, below a path with a random token.

    What is asked for without the token, or under another host name, is refused with 403: no other
    user of the machine and no page of another site can read the samples. A browser is started with
    `first_address`, since all users of a machine see the arguments of each program.

    Args:
        folder: With `index.html`.
        pictures: Files of which small copies are made when they are asked for, by name below the
            folder.
        port: 0 for any that is free.
        actions: What the page may ask for by POST, one request at a time; by default nothing.
        side: Longest side of the small copies, in pixels.

    Raises:
        SpyBenchError: the port is in use, or not this user's to use.
    """

    def __init__(
        self,
        folder: Path,
        pictures: Mapping[str, Path],
        *,
        port: int = 0,
        actions: Mapping[str, Action] | None = None,
        side: int = SIDE,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as error:
            raise SpyBenchError(
                f"port {port} cannot be used ({error.strerror}). Name another one, or leave out "
                "--port for one that is free."
            ) from error
        self._server.setup(folder.resolve(), pictures, self.token)
        self._server.actions, self._server.side = actions or {}, side

    @property
    def address(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self._server.server_port}/{self.token}/index.html"

    @property
    def first_address(self) -> str:
        """An address that leads to the page once, and is refused from then on."""
        return f"http://{HOST}:{self._server.server_port}/{self._server.first_token}"

    def serve(self) -> None:
        """Answer requests until the process is interrupted."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop listening."""
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    actions: Mapping[str, Action]
    side: int

    def setup(self, folder: Path, pictures: Mapping[str, Path], token: str) -> None:
        """Say what is served."""
        files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
        self.files = {path.relative_to(folder).as_posix(): path for path in files}
        self.folder, self.pictures, self.token = folder, pictures, token
        self.first_token, self.first_used = secrets.token_urlsafe(24), threading.Lock()
        self.copying, self.acting = threading.Lock(), threading.Lock()
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has closed its connection, as it does when one scrolls."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "spy-bench", ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Answer with a file, or lead to the page."""
        if not self._lead_to_page():
            self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with a file's headers."""
        self._answer(with_body=False)

    def do_POST(self) -> None:
        """Answer with what an action returns, or with why it does not."""
        if not self.server.actions:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED)
            return
        status, value = self._act()
        if status is not HTTPStatus.OK:  # the body may not have been read
            self.close_connection = True
        self._send(status, "application/json", json.dumps(value).encode(), with_body=True)

    def _act(self) -> tuple[HTTPStatus, Any]:
        name = self._name()
        origin = self.headers.get("Origin", "").removeprefix("http://")
        if name is None or (origin and origin not in self.server.hosts):
            return HTTPStatus.FORBIDDEN, {"error": "Use the address that spy-bench printed."}
        if name not in self.server.actions:
            return HTTPStatus.NOT_FOUND, {"error": "There is no such action."}
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return HTTPStatus.LENGTH_REQUIRED, {"error": "The request has no length."}
        if len(length) > 9 or int(length) > MAX_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "The request is too long."}
        try:
            asked = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return HTTPStatus.BAD_REQUEST, {"error": "The request is not JSON."}
        try:
            with self.server.acting:
                return HTTPStatus.OK, self.server.actions[name](asked)
        except SpyBenchError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except OSError as error:
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": system_problem(error)}

    def _lead_to_page(self) -> bool:
        """Answer the first request for `BrowserServer.first_address`; return whether it was one."""
        server = self.server
        asked = compare_digest(self.path[1:].encode(), server.first_token.encode())
        known_host = self.headers.get("Host") in server.hosts
        if not (asked and known_host and server.first_used.acquire(blocking=False)):
            return False
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", f"/{server.token}/index.html")
        self.send_header("Content-Length", "0")
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        return True

    def _answer(self, *, with_body: bool) -> None:
        self._send(*self._find(), with_body=with_body)

    def _send(self, status: HTTPStatus, kind: str, body: bytes, *, with_body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _name(self) -> str | None:
        """Return what is asked for below the token; None without it, or under another host."""
        _, token, name = f"{self.path.partition('?')[0]}//".split("/", 2)
        known = compare_digest(token.encode(), self.server.token.encode())
        return name.rstrip("/") if known and self.headers.get("Host") in self.server.hosts else None

    def _find(self) -> tuple[HTTPStatus, str, bytes]:
        name = self._name()
        if name is None:
            return HTTPStatus.FORBIDDEN, "text/plain", b"Use the address that spy-bench printed.\n"
        # Only names that were listed at the start are opened: no path is taken from a request.
        name = name or "index.html"
        try:
            body = self._content(name)
        except OSError:
            body = None
        if body is None:
            return HTTPStatus.NOT_FOUND, "text/plain", b"No such file.\n"
        return HTTPStatus.OK, _KINDS.get(Path(name).suffix, "application/octet-stream"), body

    def _content(self, name: str) -> bytes | None:
        if name in self.server.files:
            return self.server.files[name].read_bytes()
        if name not in self.server.pictures:
            return None
        return self._small_copy(name)

    def _small_copy(self, name: str) -> bytes:
        """Make a picture's small copy at its first request, and keep it in the folder."""
        path = self.server.folder / name
        with self.server.copying:  # one at a time: two pages may ask for one picture
            if name not in self.server.files:
                with replacing(path) as temporary:
                    temporary.write_bytes(thumbnail(self.server.pictures[name], self.server.side))
                self.server.files[name] = path
        return path.read_bytes()

    def log_message(self, format: str, *args: object) -> None:
        """Keep requests, whose paths hold the token, out of the terminal."""
