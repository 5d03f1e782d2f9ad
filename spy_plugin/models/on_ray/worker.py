"""The actor that holds an engine: it pulls conversations and streams what becomes of them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from spy_plugin.errors import SpyBenchError
from spy_plugin.models.base import Conversation, Model, Reply

logger = logging.getLogger(__name__)

_LAST_WORDS = 20_000
"""Bytes at the end of each of a dead engine's logs that are searched for its last lines."""

_LINES = 5
"""How many exceptions or lines are last words."""

_EXCEPTION = re.compile(r"\b\w+(?:Error|Exception): .*")

_NO_WORDS = re.compile(r":(?:job_id|actor_name|task_name):|.*\d%\|")
"""How lines begin that say nothing about a death: Ray's own, and those of progress bars."""


@dataclass(frozen=True)
class Started:
    """The engine's process runs.

    Attributes:
        node: The id of its node.
        logs: The files that its messages go to, on that node.
    """

    node: str
    logs: tuple[str, ...]


@dataclass(frozen=True)
class Loaded:
    """The model is loaded."""


@dataclass(frozen=True)
class Broken:
    """The engine can answer nothing more, and said why."""

    error: str


Event = Started | Loaded | Broken | Reply


class Worker:
    """Runs a model for whoever hands out conversations.

    Args:
        model: Not loaded yet.
        folder: The driver's working folder, which relative paths mean if this node has it.
    """

    def __init__(self, model: Model, folder: str) -> None:
        self.model = model
        self._answered = 0
        with suppress(OSError):
            os.chdir(folder)

    def replies(self, queue: Any, number: int) -> Iterator[Event]:
        """Answer until nothing waits; Ray streams what this yields.

        The model is loaded here and not in `__init__`, where an error would look like a death.

        Args:
            queue: The actor of a `WorkQueue`.
            number: The engine's number there.
        """
        yield Started(ray.get_runtime_context().get_node_id(), _log_files())
        try:
            self.model.load()
            yield Loaded()
            while ray.get(queue.begin.remote(number)):
                self._answered = 0
                for reply in self.model.ask(self._pull(queue, number)):
                    self._answered += 1
                    yield reply
        except SpyBenchError as error:
            words = last_exceptions(_written(_log_files()))
            yield Broken(f"{error} Its last words: {words}" if words else str(error))

    def _pull(self, queue: Any, number: int) -> Iterator[Conversation]:
        while (talks := ray.get(queue.take.remote(number, self._answered))) is not None:
            yield from talks


def _log_files() -> tuple[str, ...]:
    """The files of this process's output and errors, where Ray has put them."""
    found = []
    for number in (1, 2):
        with suppress(OSError):
            found.append(str(Path(f"/proc/self/fd/{number}").readlink()))
    return tuple(found)


def last_words(logs: Sequence[str]) -> str:
    """Return an engine's last exceptions or, without one, its last lines; run on its node."""
    said = _written(logs)
    return last_exceptions(said) or " | ".join(said[-_LINES:])


def last_exceptions(said: Sequence[str]) -> str:
    """Return the last exceptions that some lines name; empty for none."""
    raised = [match[0] for line in said if (match := _EXCEPTION.search(line))]
    return " | ".join(list(dict.fromkeys(raised))[-_LINES:])


def _written(logs: Sequence[str]) -> list[str]:
    """Return the last lines of some logs that say something.

    vLLM writes the reason of a death to its output, and Python's traceback goes to the errors.
    """
    said: list[str] = []
    for log in logs:
        with suppress(OSError):
            with Path(log).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS))
                text = file.read(_LAST_WORDS).decode("utf-8", "replace")
            said += [line.strip() for line in text.splitlines() if line.strip()]
    return [line for line in said if not _NO_WORDS.match(line)]
