"""What `verify` finds in bundles, also in those that a forger changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spy_plugin.runs.metadata import JudgeInfo
from spy_plugin.sharing.bundle_file import read_bundle, write_bundle
from spy_plugin.sharing.findings import Finding, Status
from spy_plugin.sharing.records import (
    BundledRun,
    compute_figures,
    from_files,
    table_of,
    to_files,
)
from spy_plugin.sharing.verify import verify_bundle

RUN = "runs/1"


def changed(path: Path, change: Callable[[BundledRun], BundledRun]) -> Path:
    """Change a bundle as a forger would: figures, hashes and the manifest are computed again."""
    _, files = read_bundle(path)
    run = change(from_files(files, RUN, "x"))
    run = replace(
        run, figures=compute_figures(table_of(run.judged, run.figures.absolute_labels, "x"))
    )
    forged = path.with_name("forged.zip")
    write_bundle(forged, to_files(run, RUN))
    return forged


def findings(path: Path, **options: Any) -> dict[str, Finding]:
    return {found.check: found for found in verify_bundle(path, **options)}


def failures(path: Path) -> set[str]:
    return {name for name, found in findings(path).items() if found.status is Status.FAILED}


def by_model(run: BundledRun, raw: str) -> BundledRun:
    """The same run as if a model had judged."""
    info = JudgeInfo(name="openai:judge", fingerprint="bbbbbbbbbbbb")
    verdicts = [
        replace(v, judge=info.name, judge_fingerprint=info.fingerprint, raw=raw or v.outcome.value)
        for v in run.verdicts
    ]
    return replace(run, verdicts=verdicts, run=run.run.model_copy(update={"judge": info}))
