"""The file of a run's verdicts: which judge gave each, and which of them still hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from spy_plugin.benchmark.records import Sample, Verdict, last_records, to_json, verdict_of
from spy_plugin.errors import DataError
from spy_plugin.judging.base import Judge, Judgement
from spy_plugin.runs.resumable_file import RecordForm, ResumableFile


@dataclass(frozen=True)
class StoredVerdict(Verdict):
    """A verdict as this package writes it.

    Attributes:
        judge_fingerprint: Of the judge that gave it; only the same one may resume the file.
    """

    judge_fingerprint: str = ""


VERDICTS = RecordForm[StoredVerdict](
    "verdicts",
    key=lambda verdict: verdict.sample_id,
    load=partial(last_records, kind=StoredVerdict),
    dump=to_json,
)


class OtherJudgeError(DataError):
    """The file of verdicts was begun by another judge."""


class VerdictFile(ResumableFile[StoredVerdict]):
    """One judge's verdicts on a data set.

    Args:
        path: The file; may exist.
        samples: All that the file may hold, in its final order.

    Raises:
        OtherJudgeError: another judge began the file.
        DataError: as `ResumableFile`.
    """

    def __init__(self, path: Path, judge: Judge, samples: Sequence[Sample]) -> None:
        order = [sample.sample_id for sample in samples]
        check = partial(refuse_other_judge, judge=judge, path=path)
        super().__init__(path, VERDICTS, order=order, check=check)


def refuse_other_judge(verdict: StoredVerdict, judge: Judge, path: Path) -> None:
    """Compare the judge of an earlier verdict with this one.

    Raises:
        OtherJudgeError: it is another.
    """
    if verdict.judge_fingerprint == judge.fingerprint:
        return
    other = f"{verdict.judge or 'another judge'} ({verdict.judge_fingerprint or 'unknown'})"
    raise OtherJudgeError(
        f"was begun by {other}; this is {judge.name} ({judge.fingerprint})",
        "To keep both, name another file with --out FILE. To resume this one, use the judge, "
        "protocol and judge options that it was begun with.",
        path=path,
        where=f"sample {verdict.sample_id}",
    )


def load_verdicts(path: Path) -> list[Verdict]:
    """Read a verdict file that may be unfinished: the last verdict of each sample.

    Raises:
        DataError: the file is missing, or a line is not a verdict.
    """
    return list(VERDICTS.load(path)[0].values())


def stored_verdict(
    sample: Sample, judge: Judge, judgement: Judgement, answer: str = ""
) -> StoredVerdict:
    """A judgement of a sample's answer as the file keeps it."""
    verdict = verdict_of(
        sample,
        judgement.outcome,
        answer=answer,
        judge=judge.name,
        raw=judgement.raw,
        error=judgement.error,
    )
    return StoredVerdict(**vars(verdict), judge_fingerprint=judge.fingerprint)
