"""Fixtures of the tests of files."""

from __future__ import annotations

from tests.file_server import no_host_imported, served

__all__ = ["no_host_imported", "served"]
