"""Read a data set that `spy-bench data export` wrote as Parquet: its benchmark and its pictures.

Such files may come from anywhere. Every row is checked, and so is that its prompt is the one that
its parts make: the benchmark that is returned asks exactly what the rows say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from spy_plugin.benchmark.loading import Text, below_the_root
from spy_plugin.benchmark.own_rows import read_other_labels
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import IsPrivacy, Sample, Scenario
from spy_plugin.benchmark.samples import Benchmark, Item
from spy_plugin.data.export import COLUMNS, require_arrow
from spy_plugin.data.pictures import PictureBytes, open_rgb
from spy_plugin.data.shared_words import KEY, SharedWords
from spy_plugin.errors import DataError
from spy_plugin.files.json import checked

_REMEDY = "Export the data set again with: spy-bench data export"
_ROWS_AT_ONCE = 100
"""Rows that are held in memory, with their pictures."""
_OF_THE_ITEM = ("label", "question_id", "question", "answer", "image_path", "distractors")
"""Columns that are equal in all rows of an item."""


class _Row(BaseModel):
    """A row without its picture."""

    model_config = ConfigDict(strict=True, frozen=True)

    sample_id: Text
    benchmark_id: Text
    label: Text
    label_words: Text
    is_privacy: IsPrivacy
    scenario: str
    scenario_is_privacy: IsPrivacy | None
    question_id: Text
    question: Text
    prompt: Text
    answer: str
    image_path: Annotated[Text, AfterValidator(below_the_root)]
    distractors: str


@dataclass(frozen=True)
class _Place:
    """A row of a file, counted from 0."""

    file: Path
    row: int

    def error(self, problem: str, remedy: str = _REMEDY) -> DataError:
        """Return the error that names this row."""
        return DataError(problem, remedy, path=self.file, where=f"row {self.row}")


@dataclass(frozen=True)
class Dataset:
    """An exported data set.

    Attributes:
        benchmark: Its items in the built-in words, but for the instruction lines. Its pictures are
            inside the files, so its folder of pictures is that of the files.
        words: What its files say of themselves.
    """

    files: tuple[Path, ...]
    benchmark: Benchmark
    words: SharedWords

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """Yield the path of each picture and its file's content, once.

        Raises:
            DataError: one does not decode, or is another one in another row; names file and row.
        """
        known: dict[str, bytes] = {}
        for place, row in _rows(self.files, ("image_path", "image")):
            name, image = row["image_path"], row["image"]
            data = image.get("bytes") if isinstance(image, dict) else None
            if not isinstance(data, bytes):
                raise place.error(f"the picture {name!r} is not in the file")
            digest = hashlib.sha256(data).digest()
            if name not in known:
                known[name] = digest
                _check_decodes(name, data, place)
                yield name, data
            elif known[name] != digest:
                raise place.error(f"the picture {name!r} is another one than in an earlier row")


def parquet_files(source: Path) -> tuple[Path, ...]:
    """Return the Parquet files of a data set: the file itself, or those of a folder."""
    if source.is_dir():
        return tuple(sorted((*source.glob("*.parquet"), *source.glob("data/*.parquet"))))
    return (source,) if source.suffix == ".parquet" else ()


def read_dataset(source: Path) -> Dataset:
    """Read all rows but for their pictures.

    Args:
        source: A folder of ``hf-dataset``, or a file of ``parquet``.

    Raises:
        DataError: a file is torn or not of our export, or a row is wrong; names file and row.
        MissingDependencyError: pyarrow is not installed.
    """
    require_arrow()
    files = parquet_files(source)
    if not files:
        raise DataError("holds no Parquet file", _REMEDY, path=source)
    words = _read_words(files)
    rows = [(place, _checked_row(place, row)) for place, row in _rows(files, COLUMNS)]
    if len(rows) != words.samples:
        raise DataError(
            f"holds {len(rows):,} samples in {len(files)} file(s), but {words.samples:,} were "
            "exported",
            "Fetch the missing files, or export the data set again.",
            path=source,
        )
    protocol = replace(
        BUILTIN,
        name="imported",
        instruct_templates=words.instruct_templates,
        absolute_labels=frozenset(words.absolute_labels),
    )
    items = tuple(_items(rows, words))
    benchmark = Benchmark(words.benchmark, items, words.label_words, protocol, source)
    _check_prompts(rows, benchmark)
    return Dataset(files, benchmark, words)


def _read_words(files: Sequence[Path]) -> SharedWords:
    """Return the words that all files share, once their columns are known to be there."""
    found: dict[bytes, SharedWords] = {}
    for file in files:
        with _opened(file) as parquet:
            missing = sorted({*COLUMNS, "image"} - set(parquet.schema_arrow.names))
            note = (parquet.schema_arrow.metadata or {}).get(KEY.encode())
        if missing:
            raise DataError(
                f"lacks the column(s) {', '.join(missing)}: it is not a data set of spy-bench",
                _REMEDY,
                path=file,
            )
        if note is None:
            raise DataError(
                f"lacks the words that all rows share (the metadata {KEY!r}): it was not written "
                "by spy-bench data export, or another program has rewritten it",
                "Use the exported files themselves.",
                path=file,
            )
        found[note] = checked(SharedWords.model_validate_json, note, _REMEDY, path=file, where=KEY)
        if len(found) > 1:
            raise DataError(
                f"is of another export than {files[0]}", "Keep one export per folder.", path=file
            )
    (words,) = found.values()
    return words


def _opened(file: Path) -> Any:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise _torn(error, file) from error


def _torn(error: Exception, file: Path, where: str = "") -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(
        f"is not Parquet, or was cut short ({reason})", _REMEDY, path=file, where=where
    )


def _rows(files: Sequence[Path], columns: Sequence[str]) -> Iterator[tuple[_Place, dict[str, Any]]]:
    """Yield the rows of all files; few are in memory at once."""
    import pyarrow as pa

    for file in files:
        row = 0
        with _opened(file) as parquet:
            try:
                for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=list(columns)):
                    for values in batch.to_pylist():
                        yield _Place(file, row), values
                        row += 1
            except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
                raise _torn(error, file, f"row {row} or later") from error


def _checked_row(place: _Place, row: dict[str, Any]) -> _Row:
    where = f"row {place.row}"
    return checked(_Row.model_validate, row, _REMEDY, path=place.file, where=where)


def _check_decodes(name: str, data: bytes, place: _Place) -> None:
    from PIL import UnidentifiedImageError

    try:
        open_rgb(PictureBytes(name, data))
    except OSError as error:
        cause = error.__cause__ or error
        # The text of the former names an object in memory.
        unknown = isinstance(cause, UnidentifiedImageError)
        reason = "of no known format" if unknown else str(cause)
        raise place.error(f"the picture {name!r} does not decode ({reason})") from error


def _items(rows: Sequence[tuple[_Place, _Row]], words: SharedWords) -> Iterator[Item]:
    """Put the rows of each item together again, in the order of the first ones."""
    first: dict[str, _Row] = {}
    roles: dict[str, dict[str, Scenario]] = {}
    for place, row in rows:
        known = first.setdefault(row.benchmark_id, row)
        for name in _OF_THE_ITEM:
            if getattr(row, name) != getattr(known, name):
                raise place.error(f"{name} is another one than in the item's earlier rows")
        if known is row:
            _check_labels(place, row, words)
        if row.scenario and row.scenario not in words.scenarios:
            raise place.error(f"unknown scenario {row.scenario!r}")
        if row.scenario:
            role = Scenario(
                row.scenario, row.scenario_is_privacy or 0, words.scenarios[row.scenario]
            )
            roles.setdefault(row.benchmark_id, {}).setdefault(row.scenario, role)
    for name, row in first.items():
        asked = roles.get(name, {}).values()
        yield Item(
            benchmark_id=name,
            label=row.label,
            other_labels=read_other_labels(row.distractors),
            question_id=row.question_id,
            image_path=row.image_path,
            question=row.question,
            gt=row.answer,
            non_privacy_scenarios=tuple(role for role in asked if not role.is_privacy),
            privacy_scenarios=tuple(role for role in asked if role.is_privacy),
        )


def _check_labels(place: _Place, row: _Row, words: SharedWords) -> None:
    try:
        named = [row.label, *(label for label, _ in read_other_labels(row.distractors))]
    except ValueError as error:
        raise place.error(str(error)) from error
    for label in named:
        if label not in words.label_words:
            raise place.error(f"unknown label {label!r}")


def _check_prompts(rows: Sequence[tuple[_Place, _Row]], benchmark: Benchmark) -> None:
    """Check that the benchmark has exactly the samples of the rows, in their order."""
    first = next(benchmark.samples())
    samples = list(benchmark.samples(distractors=rows[0][1].sample_id == first.sample_id))
    for (place, row), sample in zip(rows, samples, strict=False):
        for name, value in _values(sample).items():
            if getattr(row, name) != value:
                raise place.error(
                    f"{name} is not what the item's columns and rows make of it",
                    f"{_REMEDY}. An item with words of its own cannot be taken back.",
                )
    if len(rows) != len(samples):
        raise rows[-1][0].error(f"the rows are {len(rows)} of the {len(samples)} samples")


def _values(sample: Sample) -> dict[str, Any]:
    return {
        "sample_id": sample.sample_id,
        "is_privacy": sample.is_privacy,
        "scenario": sample.scenario.id if sample.scenario else "",
        "scenario_is_privacy": sample.scenario.is_privacy if sample.scenario else None,
        "label_words": sample.label_words,
        "prompt": sample.prompt,
    }
