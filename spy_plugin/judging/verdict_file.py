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
        judge_server: Address of the server that was asked, without secrets; empty for none.
        judge_model: The model that judged, by its server's own account; empty if unknown.
    """

    judge_fingerprint: str = ""
    judge_server: str = ""
    judge_thoughts: str = ""
    judge_model: str = ""


class OtherJudgeError(DataError):
    """Another judge began the file."""


def refuse_other_judge(
    judge: Judge, path: Path, *, other_server: bool = False
) -> Callable[[Any], None]:
    """Return a check that an earlier record of a file is of this judge.

    Args:
        other_server: It may be the same judge at another address.

    Raises:
        OtherJudgeError: it is not.
    """

    def check(record: Any) -> None:
        if record.judge_fingerprint == judge.fingerprint:
            return
        server = getattr(record, "judge_server", "")
        elsewhere = bool(server) and judge.fingerprint_at(server) == record.judge_fingerprint
        if elsewhere and other_server:
            return
        other = f"{record.judge or 'another judge'} ({record.judge_fingerprint or 'unknown'})"
        at = (f" at {server}", f" at {judge.server}") if elsewhere else ("", "")
        raise OtherJudgeError(
            f"was begun by {other}{at[0]}; this is {judge.name} ({judge.fingerprint}){at[1]}",
            "To keep both, name another file with --out FILE. To resume this one, use the judge, "
            "protocol and judge options that it was begun with"
            + (", or record both servers with --other-server." if elsewhere else "."),
            path=path,
        )

    return check


def refuse_other_model(kept: Iterable[str], path: Path) -> Callable[[str], None]:
    """Return a check that the model that judges is one that gave kept verdicts.

    Both as their server says; an empty name passes.

    Args:
        kept: The models of the kept verdicts.

    Raises:
        OtherJudgeError: it is not.
    """
    known = set(kept) - {""}

    def check(model: str) -> None:
        if known and model not in known | {""}:
            raise OtherJudgeError(
                f"holds verdicts of {', '.join(sorted(known))}, but the server now says that "
                f"{model} judges",
                "Name that model, name another file with --out or move this one away, or record "
                "both with --other-server.",
                path=path,
            )

    return check


def open_verdicts(
    path: Path, judge: Judge, samples: Iterable[Sample], *, other_server: bool = False
) -> ResumableFile[StoredVerdict]:
    """Open a file of verdicts on these samples to be written.

    Args:
        other_server: See `refuse_other_judge`.

    Raises:
        OtherJudgeError: another judge began the file.
        DataError: as `ResumableFile`.
    """
    order = [sample.sample_id for sample in samples]
    check = refuse_other_judge(judge, path, other_server=other_server)
    return ResumableFile(path, StoredVerdict, "verdicts", order=order, check=check)


def earlier_verdicts(
    path: Path, judge: Judge, *, other_server: bool = False
) -> dict[str, StoredVerdict]:
    """Read the judge's verdicts in a file that may not exist, by sample_id.

    Args:
        other_server: See `refuse_other_judge`.

    Raises:
        OtherJudgeError: another judge began the file.
    """
    found = last_records(path, StoredVerdict)[0] if path.exists() else {}
    check = refuse_other_judge(judge, path, other_server=other_server)
    for verdict in found.values():
        check(verdict)
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
        judge_server=judge.server,
        judge_model=judgement.answered_by,
    )
