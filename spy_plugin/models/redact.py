"""Keep keys out of everything that is written: answers, messages, logs, files.

Servers echo keys in their error texts, and models may repeat what stands in a header: as sent, in
another case, percent-encoded, with JSON or HTML escapes, in base64 or in hexadecimal digits.
Secrets of four characters or fewer are left alone: replacing them would garble ordinary words.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "***"
"""Stands for a secret."""

_LIMIT = 500
_SHORTEST = 5
_BEARER = re.compile(r"(?i)(bearer\s+|api[-_]?key\W{1,3})[^\s\"',}]+")
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[-_])(?:api)?[-_]?(?:key|token|secret|password|passwd|credentials?|auth|authorization"
    r"|cookie|signature|sig)$|apikey$"
)
_IN_REQUESTS_ONLY = ("extra_headers", "extra_query")
_PUBLIC = ("api-version",)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text on one line, cut short, without secrets, bearer tokens and URL users."""
    text = without_secrets(text, secrets)
    text = _USER_INFO.sub(f"{HIDDEN}@", _BEARER.sub(rf"\1{HIDDEN}", text))
    text = " ".join(text.split())
    return text if len(text) <= _LIMIT else text[: _LIMIT - 1] + "…"


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return the text with each secret replaced, in whatever case or encoding it stands there."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            text = _pattern(secret).sub(HIDDEN, text)
    return text


def hide_secrets(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Separate the secrets from the fields of a request.

    Every header and every parameter of the address counts as a secret, except the API's version; of
    the other fields those that are called a key, token, password or the like.

    Returns:
        The fields with each secret replaced, for records and comparisons; and the secrets.
    """
    secrets: list[str] = []

    def shown(name: str, value: Any, hide: bool) -> Any:
        if isinstance(value, Mapping):
            inside = hide or name in _IN_REQUESTS_ONLY
            return {key: shown(key, each, inside) for key, each in value.items()}
        if isinstance(value, list):
            return [shown(name, each, hide) for each in value]
        if name not in _PUBLIC and (hide or (isinstance(value, str) and _SECRET_NAME.search(name))):
            secrets.append(str(value))
            return HIDDEN
        return value

    return {name: shown(name, value, False) for name, value in fields.items()}, secrets


@lru_cache(maxsize=64)
def _pattern(secret: str) -> re.Pattern[str]:
    raw = secret.encode()
    forms = ["".join(map(_spellings, secret)), raw.hex()]
    # In base64 a text has three forms, by where it begins; their ends depend on its neighbours.
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        inner = encoded[(0, 2, 3)[before] : len(encoded) - 1]
        if len(inner) > _SHORTEST:
            forms += map(re.escape, {inner, inner.replace("+", "-").replace("/", "_")})
    return re.compile("|".join(forms), re.IGNORECASE)


def _spellings(character: str) -> str:
    """Return a pattern of a character as it is, or escaped as URLs, JSON and HTML do."""
    escaped = "".join(f"%{byte:02x}" for byte in character.encode())
    number = ord(character)
    return f"(?:{re.escape(character)}|{escaped}|\\\\u{number:04x}|&#{number};|&#x{number:x};)"
