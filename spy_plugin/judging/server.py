"""Which server a judge is asked at, and with which key."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from spy_plugin.errors import JudgeSetupError
from spy_plugin.models.addresses import NO_KEY, AddressError, check_key, host_of, is_local

_CHOICES = (
    "Set JUDGE_API_KEY (or OPENAI_API_KEY), or set JUDGE_BASE_URL and JUDGE_MODEL for a server of "
    "your own (a local one needs no key), or use --judge rules for a quick look that is not to be "
    "reported."
)
_WHOSE = "the judge's"


def find_server(base_url: str | None, api_key: str | None, model: str) -> tuple[str | None, str]:
    """Address (None for OpenAI's own) and key, from the arguments or else the environment.

    ``JUDGE_BASE_URL`` and ``JUDGE_API_KEY`` come first. ``OPENAI_API_KEY`` is only ever sent to
    OpenAI, or to what ``OPENAI_BASE_URL`` names beside it. A local server needs no key.

    Raises:
        JudgeSetupError: there is no key, or key or address cannot be right.
    """
    url = base_url or os.environ.get("JUDGE_BASE_URL") or None
    key = api_key or os.environ.get("JUDGE_API_KEY") or None
    try:
        host = host_of(url, _WHOSE, "JUDGE_API_KEY") if url is not None else None
        if key is None and (url is None or urlsplit(url).hostname == "api.openai.com"):
            url = url or os.environ.get("OPENAI_BASE_URL") or None
            key = os.environ.get("OPENAI_API_KEY") or None
            host = host_of(url, _WHOSE, "OPENAI_API_KEY") if url is not None else None
        if key is None and host is not None and is_local(host):
            key = NO_KEY
        if key is None:
            raise JudgeSetupError(f"there is no key for the judge {model}. {_CHOICES}")
        return url, check_key(key, _WHOSE)
    except AddressError as error:
        raise JudgeSetupError(str(error)) from None
