"""What a report shows of a run's origin: names of files, not where a user keeps them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from spy_plugin.files.text import storable
from spy_plugin.runs.metadata import RunMetadata

_PATH = re.compile(
    r"""
    (?: \bfile:// | (?<![\w./\\~<-]) )                 # not inside a URL, a tag or a relative path
    (?: ~ | /(?!/) | [A-Za-z]:[/\\](?![/\\]) | \\\\ )  # a home, a root, a drive or a share
    (?: [^/\\\s"',;=]* [/\\] )+
    ([^/\\\s"',;=]+)
    """,
    re.VERBOSE,
)
_HOME = re.compile(
    r"(?:/home|/Users|[A-Za-z]:[/\\]Users)[/\\][^/\\\s\"',;=]+[/\\]?(?=[\s\"',;=)]|$)"
)
_DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_DRIVE_ROOT = re.compile(r"(?<![\w./\\~-])[A-Za-z]:[/\\](?![/\\])([^/\\\s\"',;=]+)")


def place_of(path: Path, run: Path) -> str:
    """Return the name of a file in reports: relative to its RUN, which is named as it was given.

    A RUN that was given as an absolute path is named by its last part.
    """
    if path.resolve() == run.resolve():
        return storable(run.name)
    named = Path(run.name) if run.is_absolute() or ".." in run.parts else run
    for below in (path, path.resolve()):
        for folder in (run, run.resolve()):
            if below.is_relative_to(folder):
                return storable((named / below.relative_to(folder)).as_posix())
    return storable(path.name)


def printable(run: RunMetadata) -> RunMetadata:
    """Return a run's metadata with paths cut to their last part and whole seconds.

    Folders hold names of users and machines, and the last digits of a duration say nothing.
    """
    shown = _cut_paths(run.model_dump(by_alias=True))
    for usage in shown["usage"].values():
        if usage["seconds"] is not None:
            usage["seconds"] = round(usage["seconds"], 1)
    for moment in ("started", "finished"):
        if shown[moment] is not None:
            shown[moment] = shown[moment].replace(microsecond=0)
    return RunMetadata.model_validate(shown)


def cut_paths(text: str) -> str:
    """Cut absolute paths in a text to their last part; relative ones and URLs stay."""
    return _DRIVE_ROOT.sub(r".../\1", _PATH.sub(r".../\1", _HOME.sub("~", text)))


def plain_name(name: str) -> str:
    """Return a name that can stand in a line: without controls, also those of text direction.

    One right-to-left override would turn round whatever follows on a page, verdicts included.
    """
    return _DIRECTIONS.sub("", storable(name))


def model_name(name: str) -> str:
    """Return the name of a model, which is the last part of a path where it is one."""
    return cut_paths(plain_name(name)).removeprefix(".../").rstrip("/\\")


Part = TypeVar("Part", bound=BaseModel)


def without_paths(part: Part) -> Part:
    """Return a part of a report with absolute paths cut to their last part."""
    return type(part).model_validate(_cut_paths(part.model_dump(by_alias=True)))


def _cut_paths(value: Any) -> Any:
    if isinstance(value, str):
        return cut_paths(value)
    if isinstance(value, dict):
        return {key: _cut_paths(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_cut_paths(entry) for entry in value]
    return value
