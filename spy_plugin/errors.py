"""What goes wrong in a way the user can mend. Every message ends in what to do."""

from __future__ import annotations

from pathlib import Path


class SpyBenchError(Exception):
    """Base of our errors; the command line shows its text without a traceback."""


class DataError(SpyBenchError):
    """A file's content is wrong.

    Args:
        problem: What is wrong.
        remedy: What to do about it.
        path: The file, if the content came from one.
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
    """No judge can be had with the options and keys at hand."""
