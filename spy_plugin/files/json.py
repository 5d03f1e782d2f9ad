"""Read JSON strictly and check it with pydantic; errors name the file, the place and the remedy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from spy_plugin.errors import DataError
from spy_plugin.files.text import not_utf8

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

T = TypeVar("T")
M = TypeVar("M", bound="BaseModel")

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "dataclass_type": "an object",
    "model_type": "an object",
}
"""Pydantic's type of an error -> what JSON must hold there."""
YAML = _EXPECTED | dict.fromkeys(
    ("dict_type", "dataclass_type", "model_type"), "a mapping of keys to values (KEY: VALUE)"
)
"""The same in the words of a YAML file."""
_LONGEST = 40
"""Characters of a wrong value that an error shows."""

UPGRADE = "Upgrade this package: pip install --upgrade spy-bench"


class NewerVersionError(ValueError):
    """A newer version of this package wrote a file, in a form that this version does not know."""


def refuse_newer(version: object) -> object:
    """Check the version of a file's form before its type is checked; the newest version is 1.

    Raises:
        NewerVersionError: the number is larger.
    """
    if type(version) is int and version > 1:
        raise NewerVersionError(f"is {version}: a newer version of spy-bench wrote this file")
    return version


def read_json(path: Path, remedy: str) -> Any:
    """Parse a JSON file, refusing duplicate keys and numbers that are not finite.

    Args:
        remedy: Ends every error: what to do about a file that cannot be used.

    Raises:
        DataError: the file is missing, truncated, or otherwise not JSON.
    """
    try:
        return json.loads(
            path.read_text(encoding="utf-8-sig"),  # some editors write a byte order mark
            object_pairs_hook=unique_keys,
            parse_constant=refuse_constant,
            parse_float=finite,
        )
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", remedy, path=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"is {not_utf8(error.object)}", remedy, path=path) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON, or was cut short ({error})", remedy, path=path) from error


def read_json_as(model: type[M], path: Path, remedy: str) -> M:
    """Read a JSON file into a pydantic model.

    Args:
        remedy: Ends every error: what the file must be.

    Raises:
        DataError: the file is missing, not JSON, or not of this form; names the first wrong field.
    """
    return checked(model.model_validate, read_json(path, remedy), remedy, path=path)


def checked(
    validate: Callable[[Any], T],
    value: Any,
    remedy: str,
    *,
    path: Path | str,
    where: str = "",
    prefix: str = "",
) -> T:
    """Validate a value that came from a file.

    Args:
        validate: A pydantic model's `model_validate`, or a type adapter's `validate_python`.
        where: The line or the id of the value inside the file.
        prefix: Begins the error's text, for example ``"is not an answer: "``.

    Raises:
        DataError: the value is not of the expected form, or a newer version of this package wrote
            it; names the first wrong field.
    """
    try:
        return validate(value)
    except ValueError as error:  # pydantic's ValidationError is one
        remedy = UPGRADE if any(map(_is_newer, _errors_of(error))) else remedy
        raise DataError(f"{prefix}{problem_of(error)}", remedy, path=path, where=where) from error


def problem_of(error: ValueError) -> str:
    """Say the first problem that pydantic found: the field, what it must be, and what it is.

    That a newer version wrote the file comes before what else differs.
    """
    found = _errors_of(error)
    return problem_in(next(filter(_is_newer, found), found[0])) if found else str(error)


def problem_in(first: ErrorDetails, expected: Mapping[str, str] = _EXPECTED) -> str:
    """Say one problem that pydantic found, as `problem_of` does.

    Args:
        expected: What must stand there, by pydantic's type of the error; `YAML` for such a file.
    """
    kind, field = first["type"], ".".join(str(part) for part in first["loc"])
    place = f'"{field}" ' if field else ""
    if kind == "missing":
        return f"{place}is missing"
    if kind == "extra_forbidden":
        return f"{place}is an unknown key"
    if kind == "value_error":
        return f"{place}{first['ctx']['error']}"
    if kind in expected:
        return f"{place}must be {expected[kind]}, not {_shown(first['input'])}"
    if first["msg"].startswith("Input should be "):
        wanted = first["msg"].removeprefix("Input should be ")
        return f"{place}must be {wanted}, not {_shown(first['input'])}"
    return f"{place and place.rstrip() + ': '}{first['msg']}"


def _errors_of(error: ValueError) -> list[ErrorDetails]:
    from pydantic import ValidationError

    return error.errors(include_url=False) if isinstance(error, ValidationError) else []


def _is_newer(error: ErrorDetails) -> bool:
    return isinstance(error.get("ctx", {}).get("error"), NewerVersionError)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that an object has twice: a parser's `object_pairs_hook`."""
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key {next(n for n in names if names.count(n) > 1)!r}")
    return out


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's parser takes: its `parse_constant`."""
    raise ValueError(f"{name} is not a JSON number")


def finite(text: str) -> float:
    """Refuse a number beyond all floats, which Python takes for infinity: its `parse_float`."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:_LONGEST]} is too large a number")
    return number
