"""The file of a judge's verdicts, which only the same judge resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Sample, Verdict, last_records, verdict_of, was_asked
from spy_plugin.errors import DataError
from spy_plugin.judging.base import Judge, Judgement
from spy_plugin.runs.resumable_file import ResumableFile


@dataclass(frozen=True)
class StoredVerdict(Verdict):
    """A verdict as this package writes it.

    Attributes:
        judge_fingerprint: The fingerprint of the judge that gave it.
        judge_thoughts: What the judge thought aloud; not read.
        judge_model: The model that judged, by its server's own account; empty if unknown.
    """

    judge_fingerprint: str = ""
    judge_thoughts: str = ""
    judge_model: str = ""


class OtherJudgeError(DataError):
    """Another judge began the file."""


def refuse_other_judge(judge: Judge, path: Path) -> Callable[[Any], None]:
    """Return a check that an earlier record of a file is of this judge.

    Raises:
        OtherJudgeError: it is not.
    """

    def check(record: Any) -> None:
        if record.judge_fingerprint == judge.fingerprint:
            return
        other = f"{record.judge or 'another judge'} ({record.judge_fingerprint or 'unknown'})"
        raise OtherJudgeError(
            f"was begun by {other}; this is {judge.name} ({judge.fingerprint})",
            "To keep both, name another file with --out FILE. To resume this one, use the judge, "
            "protocol and judge options that it was begun with.",
            path=path,
        )

    return check


def open_verdicts(
    path: Path, judge: Judge, samples: Iterable[Sample]
) -> ResumableFile[StoredVerdict]:
    """Open a file of verdicts on these samples to be written.

    Raises:
        OtherJudgeError: another judge began the file.
        DataError: as `ResumableFile`.
    """
    order = [sample.sample_id for sample in samples]
    check = refuse_other_judge(judge, path)
    return ResumableFile(path, StoredVerdict, "verdicts", order=order, check=check)


def earlier_verdicts(path: Path, judge: Judge) -> dict[str, StoredVerdict]:
    """Read the judge's verdicts in a file that may not exist, by sample_id.

    Raises:
        OtherJudgeError: another judge began the file.
    """
    found = last_records(path, StoredVerdict)[0] if path.exists() else {}
    for verdict in found.values():
        refuse_other_judge(judge, path)(verdict)
    return found


def load_verdicts(path: Path) -> list[Verdict]:
    """Read a verdict file that may be unfinished: the last verdict of each sample that was asked.

    Raises:
        DataError: the file is missing, or a line is not a verdict.
    """
    found = last_records(path, StoredVerdict)[0].values()
    return [verdict for verdict in found if was_asked(verdict.outcome, verdict.error)]


def stored_verdict(
    sample: Sample, judge: Judge, judgement: Judgement, answer: str = ""
) -> StoredVerdict:
    """Return a judgement of a sample's answer as the file keeps it."""
    verdict = verdict_of(
        sample,
        judgement.outcome,
        answer=answer,
        judge=judge.name,
        raw=judgement.raw,
        error=judgement.error,
    )
    return StoredVerdict(
        **vars(verdict),
        judge_fingerprint=judge.fingerprint,
        judge_thoughts=judgement.thoughts,
        judge_model=judgement.answered_by,
    )
