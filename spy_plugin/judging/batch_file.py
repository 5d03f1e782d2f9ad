"""The file of what was submitted to a batch service, beside the verdicts that it is for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import read_jsonl
from spy_plugin.judging.base import Judge
from spy_plugin.runs.resumable_file import RecordForm, ResumableFile

SUBMIT = "Submit first, with the same --out; or delete the file if its batches are lost."


@dataclass(frozen=True)
class Submitted:
    """A batch as the file keeps it.

    Attributes:
        file: Id of its uploaded requests, and the record's key.
        id: The batch's id; empty until the service has confirmed it.
        keys: The keys of its questions.
        judge, fingerprint: Who was asked.
    """

    file: str
    id: str
    keys: tuple[str, ...]
    judge: str
    fingerprint: str


def _load(path: Path) -> tuple[dict[str, Submitted], int]:
    shape = TypeAdapter(Submitted)
    found: dict[str, Submitted] = {}
    lines = 0
    for line, row in read_jsonl(path, allow_torn_tail=True):
        try:
            batch = shape.validate_python(row)
        except ValidationError as error:
            problem = error.errors()[0]
            raise DataError(
                f"not a batch: {problem['loc'][0]}: {problem['msg']}",
                SUBMIT,
                path=path,
                where=f"line {line}",
            ) from error
        found[batch.file] = batch
        lines += 1
    return found, lines - len(found)


BATCHES = RecordForm[Submitted]("batches", key=lambda batch: batch.file, load=_load, dump=asdict)


class BatchFile(ResumableFile[Submitted]):
    """What was submitted for one file of verdicts, by one judge.

    Raises:
        DataError: another judge submitted it; or as `ResumableFile`.
    """

    def __init__(self, path: Path, judge: Judge) -> None:
        def check(batch: Submitted) -> None:
            if batch.fingerprint != judge.fingerprint:
                raise DataError(
                    f"these batches were submitted for {batch.judge} ({batch.fingerprint}); this "
                    f"is {judge.name} ({judge.fingerprint})",
                    "Use the same judge, protocol and judge options.",
                    path=path,
                )

        super().__init__(path, BATCHES, check=check)
