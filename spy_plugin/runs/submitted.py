"""The file of the batches that were submitted for a file of answers or verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spy_plugin.benchmark.records import last_records
from spy_plugin.errors import DataError

_SUFFIX = ".batch.jsonl"
_SUBMIT = "Submit first, with the same --out; or delete the file if its batches are lost."


@dataclass(frozen=True)
class Submitted:
    """A batch, as the file of what was submitted keeps it.

    Attributes:
        file: Id of its uploaded requests, which identifies it.
        id: The batch's id; empty until the service has confirmed it.
        keys: The keys of its conversations.
        asked, fingerprint: Who was asked, and under which conditions.
    """

    file: str
    id: str
    keys: tuple[str, ...]
    asked: str
    fingerprint: str


def batch_file(out: Path) -> Path:
    """`x.jsonl` -> `x.jsonl.batch.jsonl`, the file of what was submitted for it."""
    return out.with_name(out.name + _SUFFIX)


def refuse_unsubmitted(path: Path) -> None:
    """Check, before anything is opened, that something was submitted.

    Raises:
        DataError: there is no such file of batches.
    """
    if not path.exists():
        raise not_submitted(path)


def submitted_keys(out: Path) -> set[str]:
    """The keys of what was submitted for a file and is not collected; asks nobody."""
    path = batch_file(out)
    found = last_records(path, Submitted, "file")[0].values() if path.exists() else ()
    return {key for batch in found for key in batch.keys}


def not_submitted(path: Path) -> DataError:
    """The error of a file of batches that holds none, or does not exist."""
    return DataError("no batch was submitted", _SUBMIT, path=path)
