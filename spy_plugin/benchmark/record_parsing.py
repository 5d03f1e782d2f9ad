"""One line of a JSONL file -> a typed record, or an error that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from spy_plugin.benchmark.records import Answer, Outcome, Sample, Scenario, Verdict
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import read_jsonl

Record = TypeVar("Record", Sample, Answer, Verdict)


def read_records(cls: type[Record], path: Path) -> Iterator[Record]:
    """Read a JSONL file of records, leaving out a last line that a killed run left torn."""
    for line, row in read_jsonl(path, allow_torn_tail=True):
        yield from_json(cls, row, path=path, line=line)


def from_json(cls: type[Record], row: Mapping[str, Any], *, path: Path | str, line: int) -> Record:
    """Read a record back, refusing a row that lacks a field or has a wrong type.

    Raises:
        DataError: names the file and line.
    """
    kind = _NAMES.get(cls.__mro__[-2], "record")
    known = {field.name: field for field in fields(cls)}
    values = {name: value for name, value in row.items() if name in known}
    problem = ""
    for name, field in known.items():
        if name not in values:
            if field.default is MISSING:
                problem = problem or f'"{name}" is missing'
            continue
        value, shape = values[name], _SHAPES.get(str(field.type))
        if shape is not None and (not isinstance(value, shape[0]) or isinstance(value, bool)):
            problem = problem or f'"{name}" is {_json_name(value)}, not {shape[1]}'
    try:
        if not problem:
            return cls(**_typed(values))
    except ValueError as error:
        problem = str(error)
    raise DataError(
        f"is no {kind}: {problem}",
        f"Each line must be one {kind} as this package writes it.",
        path=path,
        where=f"line {line}",
    )


_NAMES: dict[type, str] = {Sample: "sample", Answer: "answer", Verdict: "verdict"}
_SHAPES = {"str": (str, "text"), "int": (int, "a whole number")}


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """The values that JSON has no type for.

    Raises:
        ValueError: what is wrong, for a person.
    """
    scenario, outcome, turns = (values.get(name) for name in ("scenario", "outcome", "turns"))
    if scenario is not None:
        if not isinstance(scenario, dict) or not {"id", "is_privacy"} <= set(scenario):
            raise ValueError('"scenario" is no object with "id" and "is_privacy"')
        names = [field.name for field in fields(Scenario)]
        values["scenario"] = Scenario(**{n: scenario[n] for n in names if n in scenario})
    if outcome is not None:
        allowed = [known.value for known in Outcome]
        if outcome not in allowed:
            raise ValueError(f"outcome {outcome!r} is none of {', '.join(allowed)}")
        values["outcome"] = Outcome(outcome)
    if turns is not None:
        if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
            raise ValueError('"turns" is no list of texts')
        values["turns"] = tuple(turns)
    return values


def _json_name(value: object) -> str:
    names = {
        type(None): "null",
        bool: "true or false",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "a number")
