"""Checks of a server's address and key before anything is sent there."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from spy_plugin.errors import SpyBenchError

NO_KEY = "none"
"""What a server that needs no key is sent."""


class AddressError(SpyBenchError):
    """A key or an address that cannot be right."""


def host_of(url: str, whose: str, key_variable: str) -> str:
    """The host in a base URL.

    Args:
        whose: Whose server it is, for the message: ``the judge's``.
        key_variable: Where its key belongs.

    Raises:
        AddressError: it is no http address, or holds a user name or password.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise AddressError(f"{whose} base URL is no address ({error}). Mend it.") from error
    if parts.username or parts.password:
        raise AddressError(
            f"{whose} base URL holds a user name or password. Put the key into {key_variable} "
            "instead."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressError(
            f"{whose} base URL is no http address. Give the whole of it, as in "
            "http://localhost:8000/v1."
        )
    return parts.hostname


def is_local(host: str) -> bool:
    """The host is this machine or one of the same network, which need no key as a rule."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
    return address.is_loopback or address.is_private


def check_key(key: str, whose: str) -> str:
    """The key without blanks around it.

    Raises:
        AddressError: it cannot stand in a header.
    """
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        # Caught here, because the HTTP library's own error would show the key.
        raise AddressError(f"{whose} key is empty or holds a space or an odd character. Check it.")
    return key
