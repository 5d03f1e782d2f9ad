"""Errors that the user can fix. Every message ends with what to do."""

from __future__ import annotations

from pathlib import Path

SAMPLES_FAILED = 3
"""Exit code of a launcher whose run finished, but left samples of ours failed."""

ALLOW_FAILED = "--allow-failed"
"""Option of the launchers: failed samples do not change the exit code."""


class SpyBenchError(Exception):
    """Base class of our errors; the command line shows the text without a traceback."""


class DataError(SpyBenchError):
    """The content of a file is wrong.

    Args:
        problem: What is wrong.
        remedy: What to do about it.
        path: The file, if the content comes from one.
        where: A line (``"line 7"``) or an id (``"item 00000012"``) inside it.
    """

    def __init__(
        self, problem: str, remedy: str, *, path: Path | str | None = None, where: str = ""
    ) -> None:
        place = ", ".join(str(part) for part in (path, where) if part)
        super().__init__(f"{place + ': ' if place else ''}{problem}. {remedy}")


class MissingDependencyError(SpyBenchError):
    """A package of an extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed. Install it with: pip install 'spy-bench[{extra}]'"
        )


class JudgeSetupError(SpyBenchError):
    """A judge cannot be built or reached with the given options and keys."""


def system_reason(error: OSError) -> str:
    """Say why the system refused, in its words, except where those mislead."""
    in_the_way = isinstance(error, FileExistsError) and Path(error.filename or "").is_file()
    if in_the_way or isinstance(error, NotADirectoryError):
        return "a part of this path is a file, not a folder"
    return error.strerror or str(error) or type(error).__name__
