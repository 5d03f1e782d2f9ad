"""A server that accepts connections, may begin an answer, and then says nothing more."""

from __future__ import annotations

import socket
import threading

_GOOD_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"


class SilentServer:
    """Hold every connection open; close it after use.

    Args:
        begins: What it sends to a request before it falls silent.

    Attributes:
        url: Its address.
        asked: Set once a request has come.
    """

    def __init__(self, begins: bytes = b"") -> None:
        self._begins, self._held = begins, list[socket.socket]()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.asked = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                held, _ = self._socket.accept()
            except OSError:  # closed
                return
            self._held.append(held)
            if held.recv(1 << 16):
                held.sendall(self._begins)
                self.asked.set()

    def close(self) -> None:
        """Let go of every connection."""
        for held in [self._socket, *self._held]:
            held.close()


def beginning_of_a_file(promised: int, sent: int) -> bytes:
    """The head of a file and its first bytes."""
    head = _GOOD_HEAD + b'ETag: "one"\r\nContent-Length: %d\r\n\r\n' % promised
    return head + b"x" * sent
