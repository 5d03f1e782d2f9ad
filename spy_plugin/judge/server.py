"""Which server a judge is asked at, and with which key."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from spy_plugin.errors import JudgeSetupError

_CHOICES = (
    "Set JUDGE_API_KEY (or OPENAI_API_KEY), or set JUDGE_BASE_URL and JUDGE_MODEL for a server of "
    "your own (a local one needs no key), or use --judge rules for a quick look that is not to be "
    "reported."
)
_NO_KEY = "none"


def find_server(base_url: str | None, api_key: str | None, model: str) -> tuple[str | None, str]:
    """Address (None for OpenAI's own) and key, from the arguments or else the environment.

    ``JUDGE_BASE_URL`` and ``JUDGE_API_KEY`` come first. ``OPENAI_API_KEY`` is only ever sent to
    OpenAI, or to what ``OPENAI_BASE_URL`` names beside it. A local server needs no key.

    Raises:
        JudgeSetupError: there is no key, or key or address cannot be right.
    """
    url = base_url or os.environ.get("JUDGE_BASE_URL") or None
    key = api_key or os.environ.get("JUDGE_API_KEY") or None
    if key is None and (url is None or urlsplit(url).hostname == "api.openai.com"):
        url = url or os.environ.get("OPENAI_BASE_URL") or None
        key = os.environ.get("OPENAI_API_KEY") or None
    if url is not None and key is None and _is_local(_host(url)):
        key = _NO_KEY
    if key is None:
        raise JudgeSetupError(f"there is no key for the judge {model}. {_CHOICES}")
    if url is not None:
        _host(url)
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        # Caught here, because the HTTP library's own error would show the key.
        raise JudgeSetupError(
            "the judge's key is empty or holds a space or an odd character. Check it."
        )
    return url, key


def _host(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise JudgeSetupError(
            "the judge's base URL holds a user name or password. Put the key into JUDGE_API_KEY "
            "instead."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise JudgeSetupError(
            "the judge's base URL is no http address. Give the whole of it, as in "
            "http://localhost:8000/v1."
        )
    return parts.hostname


def _is_local(host: str) -> bool:
    """The host is this machine or one of the same network, which need no key as a rule."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
    return address.is_loopback or address.is_private
