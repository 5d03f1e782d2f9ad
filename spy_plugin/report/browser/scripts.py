"""Data as scripts: a call with one JSON value, which a page may load from `file://`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spy_plugin.files.jsonl import dump_rows

_ESCAPES = {ord("<"): "\\u003c", ord("\u2028"): "\\u2028", ord("\u2029"): "\\u2029"}
"""What could end a script element, or a line of an old engine's script, inside a text."""


def script(name: str, value: Mapping[str, Any]) -> str:
    """Return a script that hands a value to the page: ``spy.receive("name", {...});``.

    Args:
        name: What the page asked for; our own word.
    """
    text = dump_rows([value]).rstrip("\n").translate(_ESCAPES)
    return f"spy.receive({json.dumps(name)}, {text});\n"


def write_script(folder: Path, name: str, value: Mapping[str, Any]) -> None:
    """Write the script of a value as `name.js`."""
    (folder / f"{name}.js").write_text(script(name, value), encoding="utf-8", newline="\n")


def columns_of(records: Sequence[Mapping[str, Any] | None]) -> dict[str, list[Any]]:
    """Turn records into columns; a missing field or record is an empty text.

    A field that no record has is left out.
    """
    names = dict.fromkeys(name for record in records if record for name in record)
    return {name: [(record or {}).get(name, "") for record in records] for name in names}
