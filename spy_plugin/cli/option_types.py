"""Types of command-line options: text -> value, or an error with which argparse ends (exit code 2).

Every option that takes a number uses one of the number types, in every command, one that takes a
FILE uses `file_path`, one that takes a folder to write into `folder_path`, and one that takes
another path `any_path`.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from spy_plugin.files.json import refuse_constant, unique_keys
from spy_plugin.files.writing import file_in_the_way


def non_negative_int(text: str) -> int:
    """Parse a whole number >= 0."""
    return _whole(text, least=0)


def positive_int(text: str) -> int:
    """Parse a whole number >= 1."""
    return _whole(text, least=1)


def port(text: str) -> int:
    """Parse a port's number; 0 for any that is free."""
    value = _whole(text, least=0)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"must be <= 65535, not {text!r}")
    return value


def non_negative_float(text: str) -> float:
    """Parse a finite number >= 0."""
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be >= 0, not {text!r}")
    return value


def positive_float(text: str) -> float:
    """Parse a finite number > 0."""
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be > 0, not {text!r}")
    return value


def positive_int_or_auto(text: str) -> int | None:
    """Parse a whole number >= 1, or ``auto`` for None."""
    return None if text == "auto" else positive_int(text)


def name(text: str) -> str:
    """Parse a name, which is not empty, as that of an unset variable would be."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must be a name, not an empty text")
    return text


def any_path(text: str) -> Path:
    """Parse a path; an empty text, as of an unset variable, is not the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("must be a path, not an empty text")
    return Path(text)


def file_path(text: str) -> Path:
    """Parse the path of a file, which need not exist; ``-`` stands for no standard stream here."""
    path = Path(text)
    if text == "-":
        raise argparse.ArgumentTypeError("must be a file; ./- is one that is called so")
    if not path.name or text.endswith("/") or path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file, not the folder {text!r}")
    return path


def folder_path(text: str) -> Path:
    """Parse the path of a folder to write into, which need not exist."""
    path = any_path(text)
    file = file_in_the_way(path)
    if file is not None:
        raise argparse.ArgumentTypeError(f"must be a folder, but {str(file)!r} is a file")
    return path


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        value = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value


def _whole(text: str, *, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be >= {least}, not {text!r}")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}")
    return value
