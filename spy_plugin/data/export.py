"""Write the samples for use elsewhere: a VLMEvalKit TSV, Parquet, a Hugging Face dataset, JSONL.

The format ``official`` is the layout of the official release: items, words and pictures.

Every format holds the whole prompt of each sample. The TSV holds each picture once, Parquet and
Hugging Face data sets hold it with every sample, and JSONL names its path. Parquet files also carry
the words that all samples share, so that `dataset_reading` makes the benchmark of them again.
"""

from __future__ import annotations

import base64
import csv
import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.own_rows import distractors_cell
from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.data.official_layout import write_official
from spy_plugin.data.shared_words import KEY, words_of
from spy_plugin.errors import DataError, MissingDependencyError, SpyBenchError
from spy_plugin.files.archives import check_room
from spy_plugin.files.writing import naming

ROWS_PER_GROUP = 100
"""Rows that are held in memory at once, with their pictures."""
SHARD_BYTES = 500_000_000
"""Approximate size of one file of an ``hf-dataset``."""


def export(benchmark: Benchmark, format: str, out: Path, *, distractors: bool = True) -> int:
    """Write all samples to `out`, a file or, for ``hf-dataset`` and ``official``, a folder.

    Args:
        format: ``vlmeval-tsv``, ``parquet``, ``hf-dataset``, ``jsonl`` or ``official``, which holds
            both variants, and so cannot be written without distractors.

    Returns:
        The number of samples written.

    Raises:
        SpyBenchError: `out` exists, or the format is unknown or cannot leave out distractors.
        MissingDependencyError: the format needs a package that is not installed.
    """
    writers = {
        "vlmeval-tsv": _write_tsv,
        "parquet": _write_parquet,
        "hf-dataset": _write_dataset,
        "jsonl": _write_jsonl,
        "official": _write_official,
    }
    if format not in writers:
        raise SpyBenchError(f"unknown format {format!r}. Use one of: {', '.join(writers)}.")
    if format == "official" and not distractors:
        raise SpyBenchError(
            "the format official always holds both variants, with and without distractors. Leave "
            "--no-distractors out, or choose another --format."
        )
    if out.exists():
        raise SpyBenchError(f"{out} already exists. Give another path, or remove it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    try:
        with naming(out):
            count = writers[format](benchmark, part, distractors)
        part.rename(out)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)
    return count


COLUMNS = (
    "sample_id",
    "benchmark_id",
    "label",
    "label_words",
    "is_privacy",
    "scenario",
    "scenario_is_privacy",
    "question_id",
    "question",
    "prompt",
    "answer",
    "image_path",
    "distractors",
)
"""The columns that all formats share. `distractors` is an item's other labels as a form names them:
``LABEL=private; LABEL=public``, also where the prompts leave them out."""
SMALL_INTEGERS = ("is_privacy", "scenario_is_privacy")

CARD = """\
---
configs:
- config_name: default
  data_files:
  - split: test
    path: data/test-*.parquet
---
# SPY-Bench ({name})

{count:,} samples, {prompts} distractors, in the words of the protocol {protocol}.
Written by `spy-bench data export`. Read it with `datasets.load_dataset`, given this folder's path.
`spy-bench new DIR --from FOLDER` makes a form of this folder that asks the same again.
The pictures are subject to the terms of the data set that they come from.
"""


def _rows(benchmark: Benchmark, distractors: bool) -> Iterator[tuple[Sample, dict[str, Any]]]:
    """Yield each sample with the columns that all formats share."""
    cells = {item.benchmark_id: distractors_cell(item.other_labels) for item in benchmark.items}
    for sample in benchmark.samples(distractors=distractors):
        scenario = sample.scenario
        values = (
            sample.sample_id,
            sample.benchmark_id,
            sample.label,
            sample.label_words,
            sample.is_privacy,
            scenario.id if scenario else "",
            scenario.is_privacy if scenario else None,
            sample.question_id,
            sample.question,
            sample.prompt,
            sample.gt,
            sample.image_path,
            cells[sample.benchmark_id],
        )
        yield sample, dict(zip(COLUMNS, values, strict=True))


def _picture(benchmark: Benchmark, sample: Sample) -> bytes:
    path = benchmark.image_file(sample)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"the picture cannot be read ({error.strerror})",
            "Check the data: spy-bench data verify",
            path=path,
            where=f"item {sample.benchmark_id}",
        ) from error


def _write_jsonl(benchmark: Benchmark, out: Path, distractors: bool) -> int:
    count = 0
    with out.open("w", encoding="utf-8") as file:
        for _, row in _rows(benchmark, distractors):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_official(benchmark: Benchmark, out: Path, _: bool) -> int:
    return write_official(benchmark, out)


def _write_tsv(benchmark: Benchmark, out: Path, distractors: bool) -> int:
    """Write VLMEvalKit's own layout.

    `question` is the whole prompt, as the host shows it to the model. `image` is the picture in
    base64 where it first occurs, and the index of that row elsewhere.
    """
    first: dict[str, int] = {}
    count = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        for index, (sample, row) in enumerate(_rows(benchmark, distractors)):
            row["raw_question"], row["question"] = row["question"], row.pop("prompt")
            if index == 0:
                writer.writerow(["index", *row, "image"])
            image = str(first.get(sample.image_path, ""))
            if not image:
                first[sample.image_path] = index
                image = base64.b64encode(_picture(benchmark, sample)).decode()
            values = ["" if value is None else value for value in row.values()]
            writer.writerow([index, *values, image])
            count += 1
    return count


def _write_parquet(benchmark: Benchmark, out: Path, distractors: bool) -> int:
    require_arrow()
    _check_room(benchmark, out, distractors)
    count = 0
    schema = _schema(benchmark, distractors)
    with _parquet_writer(out, schema) as writer:
        for table in _tables(benchmark, schema, distractors):
            writer.write_table(table)
            count += table.num_rows
    return count


def _write_dataset(benchmark: Benchmark, out: Path, distractors: bool) -> int:
    """Write a folder for `datasets.load_dataset(folder)`: a card and shards, as on the hub."""
    require_arrow()
    _check_room(benchmark, out, distractors)
    (out / "data").mkdir(parents=True)
    schema = _schema(benchmark, distractors)
    count, shard, writer = 0, 0, None
    for table in _tables(benchmark, schema, distractors):
        if writer is None:
            writer = _parquet_writer(out / "data" / f"test-{shard:05}.parquet", schema)
            shard, held = shard + 1, 0
        writer.write_table(table)
        held += table.nbytes
        if held > SHARD_BYTES:
            writer.close()
            writer = None
        count += table.num_rows
    if writer is not None:
        writer.close()
    (out / "README.md").write_text(
        CARD.format(
            count=count,
            protocol=f"{benchmark.protocol.name} ({benchmark.protocol.fingerprint})",
            name=benchmark.name,
            prompts="with" if distractors else "without",
        ),
        encoding="utf-8",
    )
    return count


def _check_room(benchmark: Benchmark, out: Path, distractors: bool) -> None:
    sizes: dict[str, int] = {}
    total = 0
    for sample in benchmark.samples(distractors=distractors):
        if sample.image_path not in sizes:
            path = benchmark.image_file(sample)
            sizes[sample.image_path] = path.stat().st_size if path.is_file() else 0
        total += sizes[sample.image_path]
    check_room(out.parent, total)


def require_arrow() -> None:
    """Check that Parquet files can be written and read.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise MissingDependencyError("pyarrow", "train")


def _parquet_writer(path: Path, schema: Any) -> Any:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    return pq.ParquetWriter(path, schema, compression="zstd")


def _schema(benchmark: Benchmark, distractors: bool) -> Any:
    """Return the columns' types, with two notes as metadata.

    One makes `datasets` decode the pictures; the other holds the words that all rows share.
    """
    import pyarrow as pa

    columns = {name: pa.int8() if name in SMALL_INTEGERS else pa.string() for name in COLUMNS}
    features: dict[str, dict[str, str]] = {
        name: {"dtype": str(kind), "_type": "Value"} for name, kind in columns.items()
    }
    features["image"] = {"_type": "Image"}
    columns["image"] = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    note = json.dumps({"info": {"features": features}})
    words = words_of(benchmark, distractors=distractors).model_dump_json()
    return pa.schema(list(columns.items()), {"huggingface": note, KEY: words})


def _tables(benchmark: Benchmark, schema: Any, distractors: bool) -> Iterator[Any]:
    """Yield the rows with their pictures as Arrow tables of `ROWS_PER_GROUP` rows."""
    import pyarrow as pa

    rows = _rows(benchmark, distractors)
    while group := list(islice(rows, ROWS_PER_GROUP)):
        table = []
        for sample, row in group:
            content = _picture(benchmark, sample)
            table.append(row | {"image": {"bytes": content, "path": sample.image_path}})
        yield pa.Table.from_pylist(table, schema)
