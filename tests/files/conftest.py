"""A web server of the tests."""

from tests.data.conftest import served

__all__ = ["served"]
