"""Make text from elsewhere storable, once, where it enters.

Servers, models and files of others hold half emojis, NUL and escape characters, or a loop of a
million words. Text that passed `storable` can be written as UTF-8, XML (Excel) and CSV, printed on
a terminal and sent to a server.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from typing import Any

MAX_CHARACTERS = 100_000
"""The longest text that is kept, about 25,000 tokens."""

MAX_DEPTH = 200
"""How deep lists and objects of a JSON record may be nested; ours have three levels."""

_UNSTORABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Lone surrogates, control characters, and what XML 1.0 cannot hold."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CUT = " [cut here: {} characters]"


def storable(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return the text with each character that cannot be stored replaced by U+FFFD.

    A text longer than `limit` is cut; the mark at its end names its length.
    """
    if len(text) > limit:
        mark = _CUT.format(len(text))
        text = text[: max(0, limit - len(mark))] + mark
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def not_utf8(content: bytes) -> str:
    """Say what is wrong with a file that is not UTF-8, from its beginning.

    Redirection in Windows PowerShell writes UTF-16, and some editors offer it as "Unicode".
    """
    utf16 = content.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    return "UTF-16, not UTF-8: save it again as UTF-8" if utf16 else "not UTF-8"


def one_line(error: BaseException, limit: int = 300) -> str:
    """Return an error's text on one line, cut short, for a message of ours."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[:limit] + "..."


def storable_json(value: Any, depth: int = 0) -> Any:
    """Return parsed JSON with each text in it, keys included, made `storable`.

    Raises:
        RecursionError: it is nested more than `MAX_DEPTH` deep. How deep an interpreter itself
            can follow differs between versions of Python.
    """
    if isinstance(value, str):
        return storable(value)
    if depth > MAX_DEPTH:
        raise RecursionError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        return [storable_json(part, depth + 1) for part in value]
    if isinstance(value, dict):
        return {storable(name): storable_json(part, depth + 1) for name, part in value.items()}
    return value
