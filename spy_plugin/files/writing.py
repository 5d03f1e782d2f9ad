"""Replacing a file in one step, and closing what is open."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

C = TypeVar("C", bound="Closing")


class Closing(ABC):
    """Something that a `with` statement closes."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file's new content, which takes the file's place at the end.

    Readers see the old content or the new, never a part. If the writing fails, the old one stays
    and nothing else is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file in one step, see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
