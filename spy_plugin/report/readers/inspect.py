"""Privacy results in logs of inspect_ai, `*.eval` or `*.json`, by its own log reader."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.records import Outcome, Verdict, dump_jsonl, from_json
from spy_plugin.errors import DataError, MissingDependencyError
from spy_plugin.files.home import home
from spy_plugin.files.json import checked
from spy_plugin.files.text import storable
from spy_plugin.files.writing import write_atomically
from spy_plugin.judging.verdict_file import StoredVerdict
from spy_plugin.models.redact import hide_secrets
from spy_plugin.report.results import BrokenResult, Found, PrivacyResult, modified
from spy_plugin.runs.metadata import RunMetadata, Usage, run_files

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

LOOKED_FOR = ("*.eval", "*.json of inspect_ai")
SUFFIXES = (".eval", ".json")

METADATA_KEY = "spy_bench"
"""Entry of a log's metadata: the `RunMetadata` of the task, without what only the run knows."""

_JSON_LOG = re.compile(rb'\s*\{\s*"version"\s*:\s*\d+\s*,\s*"status"\s*:')
_REMEDY = "Give the log as inspect_ai wrote it."
_LEFT_OUT = frozenset({"messages", "events", "store", "attachments"})


def read(folder: Path, found: Found) -> None:
    """Add every log of one of our tasks below the folder."""
    for path in sorted(folder.rglob("*")):
        if is_log(path):
            read_file(path, found)


def is_log(path: Path) -> bool:
    """Whether a file looks like a log of inspect_ai."""
    if path.suffix not in SUFFIXES or not path.is_file():
        return False
    if path.suffix == ".eval":
        return True
    with path.open("rb") as file:
        return bool(_JSON_LOG.match(file.read(200)))


def read_file(path: Path, found: Found) -> None:
    """Add one log; one of another task is left out without a word.

    Its verdicts are kept in this package's cache folder, as a file that the report can read.
    """
    if find_spec("inspect_ai") is None:
        found.notes.append(f"{path.name} is left out: {MissingDependencyError(*_PACKAGE)}")
        return
    try:
        log = _log(path)
        if METADATA_KEY not in (log.eval.metadata or {}):
            return
        found.privacy.append(_result(path, log))
    except DataError as error:
        found.broken.append(BrokenResult("", "", str(error), path))


_PACKAGE = ("inspect_ai", "inspect")


def _log(path: Path) -> EvalLog:
    """Read a log, without the conversations and pictures in it.

    Raises:
        DataError: it is not one, or is cut short.
    """
    from inspect_ai.log import read_eval_log

    try:
        return read_eval_log(path, exclude_fields=set(_LEFT_OUT))
    except Exception as error:
        raise DataError(
            f"inspect_ai cannot read it ({type(error).__name__}: {error})", _REMEDY, path=path
        ) from error


def _result(path: Path, log: EvalLog) -> PrivacyResult:
    about = _run(path, log)
    verdicts = list(_verdicts(path, log))
    if not verdicts:
        raise DataError("it holds no sample", "Run the task again.", path=path)
    text = dump_jsonl(verdicts)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    out, _ = run_files(home() / "inspect-logs", f"{path.stem}-{digest}", about.dataset)
    if not out.is_file():
        write_atomically(out, text, private=True)
    about = about.model_copy(update={"verdicts": out.name})
    finished = about.finished or about.started or modified(path)
    return PrivacyResult(about.model, out, finished, about, source=path)


def _run(path: Path, log: EvalLog) -> RunMetadata:
    """The metadata that the task left, with what the log knows of the run.

    Raises:
        DataError: they are not ours.
    """
    recorded = (log.eval.metadata or {})[METADATA_KEY]
    where = f"its entry {METADATA_KEY}"
    about = checked(RunMetadata.model_validate, recorded, _REMEDY, path=path, where=where)
    config, _ = hide_secrets(log.plan.config.model_dump(exclude_none=True))
    return about.model_copy(
        update={
            "model": model_name(log.eval.model),
            "model_path": log.eval.model,
            "seed": config.get("seed"),
            "started": _time(log.stats.started_at),
            "finished": _time(log.stats.completed_at),
            "usage": {"generate": _usage(path, log)},
            "options": {
                "decoding": config,
                "model_args": hide_secrets(log.eval.model_args)[0],
                "epochs": log.eval.config.epochs or 1,
                "status": log.status,
            },
        }
    )


def model_name(name: str) -> str:
    """Return a model's name without inspect's provider, as other hosts call it.

    ``openai/gpt-4o`` is ``gpt-4o``, ``openai-api/SERVICE/served`` is ``served``, and
    ``spy/literal`` is ``spy-literal``.
    """
    provider, _, rest = name.partition("/")
    if provider == "openai-api":
        rest = rest.partition("/")[2]
    if provider == "spy":
        rest = f"spy-{rest.removeprefix('spy-')}"
    return rest or name


def _usage(path: Path, log: EvalLog) -> Usage:
    used = log.stats.model_usage.get(log.eval.model)
    counts = {
        "requests": log.results.completed_samples if log.results else None,
        "input_tokens": used.input_tokens if used else None,
        "output_tokens": used.output_tokens if used else None,
    }
    return checked(Usage.model_validate, counts, _REMEDY, path=path, where="its counts")


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _verdicts(path: Path, log: EvalLog) -> Iterator[Verdict]:
    """Yield the verdict on each sample's first epoch, in the log's order."""
    samples = sorted(log.samples or (), key=lambda sample: sample.epoch)
    seen: set[object] = set()
    for number, sample in enumerate(samples, 1):
        if sample.id in seen:
            continue
        seen.add(sample.id)
        yield _verdict(path, number, sample)


def _verdict(path: Path, number: int, sample: EvalSample) -> Verdict:
    """The verdict in our scorer's score; without one, the sample has failed, by inspect's error.

    Raises:
        DataError: it is not a verdict of this package.
    """
    found = [(score.metadata or {}).get("verdict") for score in (sample.scores or {}).values()]
    rows = (row for row in (*found, sample.metadata.get("verdict")) if isinstance(row, dict))
    row = next(rows, None)
    if row is None:
        raise DataError("it says nothing of SPY-Bench", _REMEDY, path=path, where=f"{sample.id}")
    verdict = from_json(StoredVerdict, row, path=path, line=number)
    if verdict.outcome is Outcome.FAILED and sample.error is not None:
        return replace(verdict, error=storable(sample.error.message))
    return verdict
