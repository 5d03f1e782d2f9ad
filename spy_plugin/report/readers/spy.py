"""Privacy results: `*_spy.json` with its verdicts, as all our hosts write them, or a file."""

from __future__ import annotations

from pathlib import Path

from spy_plugin.benchmark.official_files import is_official, name_of_verdicts
from spy_plugin.errors import DataError
from spy_plugin.report.readers.official import first_row
from spy_plugin.report.results import Found, PrivacyResult, modified
from spy_plugin.runs.metadata import METADATA_SUFFIX, VERDICTS_SUFFIX, RunMetadata

LOOKED_FOR = (f"*{METADATA_SUFFIX} with its *{VERDICTS_SUFFIX}",)


def read(folder: Path, found: Found) -> None:
    """Add every run below the folder; a run and a link to it count once.

    Verdicts without metadata, which a judge leaves that was stopped, are noted and left out.

    Raises:
        DataError: a metadata file is broken, or its verdicts are missing.
    """
    seen: set[Path] = set()
    known: set[Path] = set()
    for path in sorted(folder.rglob(f"*{METADATA_SUFFIX}")):
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        metadata = RunMetadata.read(path)
        name = metadata.verdicts or path.name.removesuffix(METADATA_SUFFIX) + VERDICTS_SUFFIX
        verdicts = path.resolve().parent / Path(name).name
        if not verdicts.is_file():
            raise DataError(
                f"its verdicts, {verdicts.name}, are missing",
                "Judge the run's answers again, or do not name this folder.",
                path=path,
            )
        known.add(verdicts.resolve())
        finished = metadata.finished or metadata.started or modified(path)
        found.privacy.append(PrivacyResult(metadata.model, verdicts, finished, metadata))
    for path in sorted(folder.rglob(f"*{VERDICTS_SUFFIX}")):
        if path.resolve() not in known:
            found.notes.append(
                f"{path.relative_to(folder)} is left out: without a *{METADATA_SUFFIX} beside it, "
                "its judging was stopped. Judge again to resume, or name the file itself."
            )


def read_file(path: Path, found: Found) -> None:
    """Add one verdict file: ours, with metadata if they are beside it, or the official scripts'."""
    metadata = path.with_name(path.name.removesuffix(VERDICTS_SUFFIX) + METADATA_SUFFIX)
    if path.name.endswith(VERDICTS_SUFFIX) and metadata.is_file():
        about = RunMetadata.read(metadata)
        finished = about.finished or about.started or modified(path)
        found.privacy.append(PrivacyResult(about.model, path, finished, about))
        return
    row = first_row(path)
    if row is not None and is_official(row):
        name = name_of_verdicts(path).model
    else:
        name = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix("_verdicts")
    found.privacy.append(PrivacyResult(name, path, modified(path)))
