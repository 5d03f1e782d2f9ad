"""Keep keys out of everything that is written: messages, logs, files."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LIMIT = 500
_BEARER = re.compile(r"(?i)(bearer\s+|api[-_]?key\W{1,3})[^\s\"',}]+")
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text on one line, cut short, with secrets, bearer tokens and URL users replaced.

    Servers echo keys in their error texts, whole or with the middle starred out. Secrets of four
    characters or fewer are left alone, since replacing them would garble ordinary words.
    """
    for secret in secrets:
        if len(secret) > 4:
            text = text.replace(secret, "***")
    text = _USER_INFO.sub("***@", _BEARER.sub(r"\1***", text))
    text = " ".join(text.split())
    return text if len(text) <= _LIMIT else text[: _LIMIT - 1] + "…"
