"""The misbehaving server."""

from __future__ import annotations

from tests.models.conftest import server, server_process

__all__ = ["server", "server_process"]
