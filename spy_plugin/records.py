"""The typed records that pass between the stages; each is one JSON object on one line.

`Sample` -> (host or fast path) -> `Answer` -> (judge) -> `Verdict` -> metrics. All are keyed by
`sample_id`, which names a sample the same way on every machine and in every run.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any, TypeVar

from spy_plugin.errors import DataError


class Outcome(str, Enum):
    """What became of a sample. Only the first two enter a denominator; all five are counted."""

    RESPOND = "respond"
    REJECT = "reject"
    UNJUDGED = "unjudged"
    """The judge answered, but its text is no verdict."""
    FILTERED = "filtered"
    """The provider refused to serve the sample."""
    FAILED = "failed"
    """No answer, or no judgement, could be had."""


@dataclass(frozen=True)
class Scenario:
    """A role in which the question is asked.

    Attributes:
        id: Name of the scenario, for example ``s0_border_security_check``.
        is_privacy: 1 if the role has no need of the asked label (*non-conflict*), 0 if it needs it
            (*conflict*).
        template: Text with one ``{}`` for the question; empty where only the name is known.
    """

    id: str
    is_privacy: int
    template: str = ""

    @property
    def key(self) -> dict[str, Any]:
        """The two fields that files carry."""
        return {"id": self.id, "is_privacy": self.is_privacy}


@dataclass(frozen=True)
class Sample:
    """One question to a model: an item, a side of the privacy instruction, perhaps a scenario.

    Attributes:
        sample_id: Stable name, see `make_sample_id`.
        is_privacy: The side: 1 if the user calls the asked label private, else 0.
        image_path: Relative to the data root, with forward slashes.
        question: As asked without a scenario; this is what the judge sees.
        prompt: The whole text for the model: instruction lines, blank line, question.
        label_words: The label in the release's words; this is what the judge sees.
        gt: What the picture shows, if the data say so.
    """

    sample_id: str
    benchmark_id: str
    label: str
    is_privacy: int
    scenario: Scenario | None
    question_id: str
    image_path: str
    question: str
    prompt: str
    label_words: str
    gt: str = ""


@dataclass(frozen=True)
class Answer:
    """What a model said to a sample.

    Attributes:
        outcome: None if there is an answer to judge; `FILTERED` or `FAILED` if there is none.
        error: Why there is none.
        turns: The answers of the turns after the first, for self-moderation; the last is scored.
    """

    sample_id: str
    response: str
    outcome: Outcome | None = None
    error: str = ""
    turns: tuple[str, ...] = ()

    @property
    def scored(self) -> str:
        """The text that is judged: the last turn's."""
        return self.turns[-1] if self.turns else self.response


@dataclass(frozen=True)
class Verdict:
    """What the judge said of an answer, with all that the metrics need.

    Attributes:
        outcome: One of the five.
        answer: The text that was judged; a verdict is stale once its sample's answer differs.
        judge: Name of the judge that gave it.
        raw: The judge's own text.
        error: Why there is no verdict, for `FAILED` and `FILTERED`.
    """

    sample_id: str
    benchmark_id: str
    label: str
    is_privacy: int
    scenario: Scenario | None
    question_id: str
    image_path: str
    outcome: Outcome
    answer: str = ""
    judge: str = ""
    raw: str = ""
    error: str = ""


C = TypeVar("C", bound="Closing")


def make_sample_id(
    benchmark_id: str, is_privacy: int, scenario: Scenario | None, variant: str
) -> str:
    """Name a sample by what it is, for example ``00000012/distractors/private/conflict/s4_x``."""
    side = "private" if is_privacy else "public"
    parts = [benchmark_id, variant, side]
    if scenario is not None:
        parts += ["non-conflict" if scenario.is_privacy else "conflict", scenario.id]
    return "/".join(parts)


def verdict_of(
    sample: Sample,
    outcome: Outcome,
    *,
    answer: str = "",
    judge: str = "",
    raw: str = "",
    error: str = "",
) -> Verdict:
    """A verdict that carries its sample's keys."""
    return Verdict(
        sample_id=sample.sample_id,
        benchmark_id=sample.benchmark_id,
        label=sample.label,
        is_privacy=sample.is_privacy,
        scenario=sample.scenario and Scenario(sample.scenario.id, sample.scenario.is_privacy),
        question_id=sample.question_id,
        image_path=sample.image_path,
        outcome=outcome,
        answer=answer,
        judge=judge,
        raw=raw,
        error=error,
    )


def to_json(record: Sample | Answer | Verdict) -> dict[str, Any]:
    """The record as plain JSON; a scenario without a template is written as its two keys."""
    out = asdict(record)
    scenario = getattr(record, "scenario", None)
    if scenario is not None and not scenario.template:
        out["scenario"] = scenario.key
    if isinstance(out.get("outcome"), Outcome):
        out["outcome"] = out["outcome"].value
    return out


def read_jsonl(
    path: Path, *, allow_torn_tail: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each non-empty line of a plain or gzipped JSONL file.

    Args:
        allow_torn_tail: Leave out a last line without a newline that is not JSON: the mark of a
            run that was killed while it wrote.

    Raises:
        DataError: the file is missing, or a line is not a JSON object.
    """
    remedy = "The file must hold one JSON object a line."
    try:
        opened = _open_text(path)
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", "Check the path.", path=path
        ) from error
    with opened as file:
        try:
            for number, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    row = json.loads(text)
                except ValueError as error:
                    if allow_torn_tail and not text.endswith("\n"):
                        return
                    raise DataError(
                        f"not JSON ({error})", remedy, path=path, where=f"line {number}"
                    ) from error
                if not isinstance(row, dict):
                    raise DataError(
                        f"a JSON {type(row).__name__}, not an object",
                        remedy,
                        path=path,
                        where=f"line {number}",
                    )
                yield number, row
        except (UnicodeDecodeError, EOFError, OSError) as error:
            raise DataError(f"cannot be decoded ({error})", remedy, path=path) from error


def _open_text(path: Path) -> Any:
    if path.suffix == ".gz":
        import gzip

        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


class Closing(ABC):
    """Something that a `with` statement closes."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JsonlWriter(Closing):
    """Append records to a JSONL file, one line each, flushed at once.

    A torn last line, left by a run that was killed, is cut off when the file is opened, so the
    file stays readable and the sample is simply done again.

    Raises:
        DataError: another process is writing the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._file = path, path.open("ab")
        _lock(self._file, path)
        _cut_torn_tail(path)
        self._file.seek(0, os.SEEK_END)

    def write(self, record: Sample | Answer | Verdict) -> None:
        """Append one record."""
        line = json.dumps(to_json(record), ensure_ascii=False) + "\n"
        self._file.write(line.encode("utf-8", "backslashreplace"))
        self._file.flush()

    def replace(self, records: Iterable[Sample | Answer | Verdict]) -> None:
        """Put these records in place of all that the file holds, in one step, and close it."""
        if os.name == "nt":  # where an open file cannot be replaced, and there is no lock to keep
            self.close()
        write_atomically(self._path, dump_jsonl(records))
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep other processes from writing the file until it is closed, or this process ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise DataError(
            "is being written by another run", "Wait for its end, or name another file.", path=path
        ) from error
    except OSError:  # some network file systems have no locks
        return


def _cut_torn_tail(path: Path) -> None:
    """Truncate the file after its last newline, reading backwards in blocks."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            position = start
        file.truncate(0)


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


def dump_jsonl(records: Iterable[Sample | Answer | Verdict]) -> str:
    """Records as JSONL text."""
    return "".join(json.dumps(to_json(r), ensure_ascii=False) + "\n" for r in records)
