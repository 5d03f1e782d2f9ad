"""Exports answers of `spy-bench generate` as a finished run of VLMEvalKit, which then judges them.

The result is what a run of the host with `--mode infer` leaves: `DIR/MODEL/T<time>/`, with the
prediction file and a `status.json`. Both ms-vlmeval and a checkout look for such folders with
`--mode eval --reuse`. Neither needs to be installed here.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from spy_plugin.benchmark.records import Answer, Sample
from spy_plugin.errors import DataError, SpyBenchError, system_reason
from spy_plugin.files.writing import write_atomically
from spy_plugin.hosts.vlmeval import names
from spy_plugin.hosts.vlmeval.names import VARIANTS
from spy_plugin.hosts.vlmeval.predictions import (
    NOT_ASKED,
    prediction_of,
    prediction_suffix,
    row_of,
)
from spy_plugin.hosts.vlmeval.previous_runs import resumed_unasked
from spy_plugin.hosts.vlmeval.tables import PREDICTION, Row, check_format, write_predictions
from spy_plugin.registry.catalog import resolve_model


@dataclass(frozen=True)
class ExportedRun:
    """A run that was written for the host.

    Attributes:
        prediction_file: The answers, in the run's folder beside its `status.json`.
        dataset: The host's name of the data set.
        model: The host's name of the model.
        failed: Number of samples that failed, were filtered or were not asked; the host would ask
            them again.
    """

    prediction_file: Path
    dataset: str
    model: str
    failed: int

    @property
    def command(self) -> str:
        """The command with which the host judges the answers."""
        words = ["spy-bench", "run", "vlmeval", "--", "--data", self.dataset, "--model", self.model]
        words += ["--mode", "eval", "--reuse", *["--keep-failed"] * bool(self.failed)]
        return shlex.join([*words, "--work-dir", str(self.prediction_file.parents[2])])


def host_name(model: str) -> str:
    """Return the name of a model in the host's files: its own key, or one valid in a file name."""
    return names.model(model if resolve_model(model) else f"{names.CHECKPOINT_PREFIX}{model}")


def export_run(
    answers: Iterable[Answer], samples: Iterable[Sample], dataset: str, model: str, folder: Path
) -> ExportedRun:
    """Write answers as a finished run of the host, in a new folder.

    Args:
        answers: The last one per sample counts; a sample without an answer was not asked.
        samples: All samples of the data set, in protocol order.
        dataset: The host's name of the data set.
        model: The model as the answers' run names it: a hub id, a path, a server's name.
        folder: The folder to pass to the host as `--work-dir`.

    Raises:
        SpyBenchError: the host has no such data set.
        DataError: an answer belongs to no sample, its turns do not fit the data set, or the folder
            holds other answers of this model.
    """
    if dataset not in VARIANTS:
        raise SpyBenchError(
            f"VLMEvalKit has no data set {dataset!r}. Judge these answers with: spy-bench judge "
            "ANSWERS."
        )
    name = host_name(model)
    rows, failed = _rows(answers, samples, dataset)
    existing = resumed_unasked(folder, [name], [dataset])
    if existing:
        raise DataError(
            "already holds answers of this model, which the host would use instead",
            "Name another folder, or remove that file.",
            path=existing[0],
        )
    check_format(prediction_suffix())  # before a folder is made
    run, created = _new_run(folder / name)
    path = run / f"{name}_{dataset}.{prediction_suffix()}"
    write_predictions(path, rows)
    _write_status(run, created, name, dataset, path)
    return ExportedRun(path, dataset, name, failed)


def _rows(
    answers: Iterable[Answer], samples: Iterable[Sample], dataset: str
) -> tuple[list[Row], int]:
    by_id = {sample.sample_id: sample for sample in samples}
    said: dict[str, Answer] = {}
    turns = VARIANTS[dataset].self_moderation
    for answer in answers:
        if answer.sample_id not in by_id:
            raise DataError(
                f"the answer belongs to no sample of {dataset}",
                "Name the benchmark and the variant that the answers belong to.",
                where=answer.sample_id,
            )
        if answer.outcome is None and bool(answer.turns) != turns:
            raise DataError(
                f"has {len(answer.turns) + 1} turns, which does not fit {dataset}",
                "Export self-moderated answers, and only those, to a data set named _SELF_MOD.",
                where=answer.sample_id,
            )
        said[answer.sample_id] = answer
    rows: list[Row] = []
    failed = 0
    for number, sample in enumerate(by_id.values(), 1):
        given = said.get(sample.sample_id)
        failed += given is None or given.outcome is not None
        prediction = NOT_ASKED if given is None else prediction_of(given)
        rows.append(row_of(number, sample) | {PREDICTION: prediction})
    return rows, failed


def _new_run(model_folder: Path) -> tuple[Path, datetime]:
    """Create a folder named as the host names its runs: by second.

    It is named by the second that has passed, since the host may start a run of its own in this
    one.
    """
    while True:
        created = datetime.now().astimezone() - timedelta(seconds=1)
        run = model_folder / created.strftime("T%Y%m%d-%H%M%S")
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            time.sleep(1 - created.microsecond / 1e6)
        except OSError as error:
            raise DataError(
                f"cannot be created ({system_reason(error)})", "Name another folder.", path=run
            ) from error
        else:
            return run, created


def _write_status(run: Path, created: datetime, model: str, dataset: str, path: Path) -> None:
    now = datetime.now().astimezone().isoformat()
    entry = {
        "status": "done",
        "prediction_file": path.name,
        "skip_reason": "mode_infer",
        "updated_at": now,
    }
    status = {
        "schema_version": "1.0",
        "eval_id": run.name,
        "created_at": created.isoformat(),
        "updated_at": now,
        "mode": "infer",
        "model_name": model,
        "datasets": {dataset: entry},
    }
    write_atomically(run / "status.json", json.dumps(status, indent=2) + "\n")
