"""Hands answers of `spy-bench generate` to VLMEvalKit, which goes on with `--mode eval --reuse`.

Written is what a run of the host with `--mode infer` leaves: `DIR/MODEL/T<time>/`, with the
prediction file and a `status.json`. Both ms-vlmeval and a checkout look for such folders when
`--reuse` is given. Neither needs to be installed here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.writing import write_atomically
from spy_plugin.hosts.vlmeval import names
from spy_plugin.hosts.vlmeval import previous_runs as earlier
from spy_plugin.hosts.vlmeval.predictions import (
    FORMAT_VARIABLE,
    prediction_of,
    prediction_suffix,
    row_of,
)
from spy_plugin.hosts.vlmeval.variants import VARIANTS
from spy_plugin.registry.catalog import resolve_model

_CELL = 32_767  # characters that an Excel cell holds

Row = dict[str, Any]


@dataclass(frozen=True)
class HandedOver:
    """What was written, and how the host takes it up.

    Attributes:
        prediction_file: In the folder of a run, beside its `status.json`.
        failed: Samples without an answer; the host would ask them again.
    """

    prediction_file: Path
    dataset: str
    model: str
    failed: int

    @property
    def command(self) -> str:
        """The command that judges the answers in the host."""
        work_dir = self.prediction_file.parents[2]
        keep = " --keep-failed" if self.failed else ""
        return (
            f"spy-bench run vlmeval -- --data {self.dataset} --model {self.model} "
            f"--mode eval --reuse{keep} --work-dir {work_dir}"
        )


def host_name(model: str) -> str:
    """The name under which the host keeps a model's files: its own key, or one fit for a file."""
    return names.model(model if resolve_model(model) else f"{names.CHECKPOINT_PREFIX}{model}")


def export_run(
    answers: Iterable[Answer], samples: Iterable[Sample], dataset: str, model: str, folder: Path
) -> HandedOver:
    """Write answers as a finished run of the host, in a new folder.

    Args:
        answers: Of two to one sample the last counts; a sample without one has failed.
        samples: All of the data set, in protocol order.
        dataset: The host's name of the data set.
        model: As the answers' run names it: a hub id, a path, a server's name.
        folder: What will be the host's `--work-dir`.

    Raises:
        SpyBenchError: the host has no such data set.
        DataError: an answer to no sample, turns that do not fit the data set, a text too long for
            the file, or a folder with other answers of this model.
    """
    if dataset not in VARIANTS:
        raise SpyBenchError(
            f"VLMEvalKit has no data set called {dataset}. Judge these answers with: spy-bench "
            "judge ANSWERS."
        )
    name = host_name(model)
    rows, failed = _rows(answers, samples, dataset)
    there = earlier.taken_up_unasked(folder, [name], [dataset])
    if there:
        raise DataError(
            "holds answers of this model already, which the host would replace",
            "Name another folder, or remove that file.",
            path=there[0],
        )
    run, created = _new_run(folder / name)
    suffix = _suffix()
    path = run / f"{name}_{dataset}.{suffix}"
    temporary = path.with_name(f".{path.name}")
    try:
        _WRITERS[suffix](temporary, rows)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _write_status(run, created, name, dataset, path)
    return HandedOver(path, dataset, name, failed)


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
                "Hand answers over with the benchmark and the variant that they were given to.",
                where=answer.sample_id,
            )
        if answer.outcome is None and bool(answer.turns) != turns:
            raise DataError(
                f"has {len(answer.turns) + 1} turns, which does not fit {dataset}",
                "Self-moderated answers, and no others, go to a data set named _SELF_MOD.",
                where=answer.sample_id,
            )
        said[answer.sample_id] = answer
    rows = []
    failed = 0
    for number, sample in enumerate(by_id.values(), 1):
        none = Answer(sample.sample_id, "", Outcome.FAILED, "there is no answer")
        answer = said.get(sample.sample_id, none)
        failed += answer.outcome is not None
        rows.append(row_of(number, sample) | {"prediction": _storable(prediction_of(answer))})
    return rows, failed


def _storable(text: str) -> str:
    """Half a character, as a torn stream leaves it, cannot be written in any encoding."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _new_run(model_folder: Path) -> tuple[Path, datetime]:
    """A folder named as the host names those of its runs: by second."""
    created = datetime.now().astimezone()
    while True:
        run = model_folder / created.strftime("T%Y%m%d-%H%M%S")
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            created += timedelta(seconds=1)
        except OSError as error:
            raise DataError(
                f"cannot be made ({error.strerror})", "Name a folder that can.", path=run
            ) from error
        else:
            return run, created


def _suffix() -> str:
    suffix = prediction_suffix()
    if suffix not in _WRITERS:
        raise SpyBenchError(f"{FORMAT_VARIABLE} is {suffix!r}. Use {', '.join(_WRITERS)}.")
    return suffix


def _write_xlsx(path: Path, rows: list[Row]) -> None:
    try:
        xlsxwriter = import_module("xlsxwriter")
    except ImportError as error:
        raise SpyBenchError(
            "VLMEvalKit's prediction files need xlsxwriter. Install it with: pip install "
            f"xlsxwriter, or set {FORMAT_VARIABLE}=json here and for the host."
        ) from error
    _refuse_long(rows)
    options = {"strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(path), options) as workbook:
        sheet = workbook.add_worksheet()
        for line, cells in enumerate([list(rows[0]), *(list(row.values()) for row in rows)]):
            for column, cell in enumerate(cells):
                if isinstance(cell, str):
                    sheet.write_string(line, column, cell)
                else:
                    sheet.write_number(line, column, cell)


def _refuse_long(rows: list[Row]) -> None:
    for row in rows:
        length = max(len(str(cell)) for cell in row.values())
        if length > _CELL:
            raise DataError(
                f"has {length} characters; a cell of an Excel file holds {_CELL}",
                f"Set {FORMAT_VARIABLE}=json, here and for the host.",
                where=row["sample_id"],
            )


def _write_tsv(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)


def _write_json(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


_WRITERS: dict[str, Callable[[Path, list[Row]], None]] = {
    "xlsx": _write_xlsx,
    "tsv": _write_tsv,
    "json": _write_json,
}


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
