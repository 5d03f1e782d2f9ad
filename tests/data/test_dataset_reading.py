"""Data sets of our export are read back; anything wrong in one is named by file and row."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.loading import load_release
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.data.dataset_reading import read_dataset
from spy_plugin.data.export import export
from spy_plugin.errors import DataError, MissingDependencyError
from tests.data.conftest import write_release

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def original(tmp_path: Path) -> Benchmark:
    """Three items of five samples, each with a picture of its own."""
    return load_release(write_release(tmp_path / "release"))


@pytest.fixture
def dataset(original: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its data set in four files: of four rows, and of three."""
    monkeypatch.setattr("spy_plugin.data.export.ROWS_PER_GROUP", 4)
    monkeypatch.setattr("spy_plugin.data.export.SHARD_BYTES", 1)
    export(original, "hf-dataset", tmp_path / "hf")
    return tmp_path / "hf"


def change(path: Path, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    """Rewrite a file with other rows."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


def test_the_parts_of_every_sample_come_back(original: Benchmark, dataset: Path) -> None:
    found = read_dataset(dataset)
    assert [path.name for path in found.files] == [f"test-0000{n}.parquet" for n in range(4)]
    back = found.benchmark
    assert (back.items, back.label_words) == (original.items, original.label_words)
    assert back.protocol.instruct_templates == original.protocol.instruct_templates
    assert back.protocol.absolute_labels == {"a31_passport"}
    assert found.words.protocol == original.protocol.fingerprint
    root = original.image_root
    names = [item.image_path for item in original.items]
    assert list(found.pictures()) == [(name, (root / name).read_bytes()) for name in names]


def set_in(row: int, **values: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[row].update(values)


@pytest.mark.parametrize(
    ("edit", "where", "expected"),
    [
        (set_in(2, prompt="Hide all."), "row 2", "prompt is not what the item's columns and rows"),
        (set_in(2, sample_id="x"), "row 2", "sample_id is not what"),
        (set_in(2, is_privacy=0), "row 2", "is_privacy is not what"),
        (set_in(2, is_privacy=7), "row 2", '"is_privacy" must be less than or equal to 1, not 7'),
        (set_in(1, question=None), "row 1", '"question" must be text, not None'),
        (set_in(1, question="Who?"), "row 1", "question is another one than in the item's earlier"),
        (set_in(3, image_path="../a.jpg"), "row 3", "'../a.jpg' leaves the data root"),
        (set_in(3, image_path="/a.jpg"), "row 3", "'/a.jpg' leaves the data root"),
        (set_in(0, label="hat"), "row 0", "unknown label 'hat'"),
        (set_in(0, distractors="hat=public"), "row 0", "unknown label 'hat'"),
        (set_in(0, question="Who?"), "row 1", "question is another one than"),
        (set_in(0, distractors="hat"), "row 0", "'hat' is not LABEL=private or LABEL=public"),
        (set_in(3, scenario="s9"), "row 3", "unknown scenario 's9'"),
        (lambda rows: rows.reverse(), "row 0", "sample_id is not what"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(
    dataset: Path, edit: Callable[[list[dict[str, Any]]], None], where: str, expected: str
) -> None:
    path = dataset / "data" / "test-00000.parquet"
    change(path, edit)
    with pytest.raises(DataError) as caught:
        read_dataset(dataset)
    assert str(caught.value).startswith(f"{path}, {where}: ")
    assert expected in str(caught.value)


def lose(rows: list[dict[str, Any]]) -> None:
    del rows[1]


def test_a_lost_row_or_file_is_noticed(dataset: Path) -> None:
    path = dataset / "data" / "test-00003.parquet"
    change(path, lose)
    said = "hf: holds 14 samples in 4 file(s), but 15 were exported. Fetch the missing files"
    with pytest.raises(DataError, match=re.escape(said)):
        read_dataset(dataset)
    path.unlink()
    with pytest.raises(DataError, match=r"holds 12 samples in 3 file"):
        read_dataset(dataset)


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, -1])
def test_a_torn_file_is_named(dataset: Path, keep: float) -> None:
    path = dataset / "data" / "test-00002.parquet"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match=r"test-00002.parquet: is not Parquet, or was cut short"):
        read_dataset(dataset)


def test_damaged_pages_are_named_with_their_row(original: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "one.parquet"
    export(original, "parquet", path)
    data = bytearray(path.read_bytes())
    group = pq.ParquetFile(path).metadata.row_group(0)
    for column in range(group.num_columns):
        begin = group.column(column).data_page_offset
        data[begin : begin + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"one.parquet, row 0 or later: is not Parquet, or was"):
        read_dataset(path)


def test_a_foreign_data_set_is_refused(dataset: Path, tmp_path: Path) -> None:
    path = dataset / "data" / "test-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["prompt", "image"]), path)
    with pytest.raises(DataError, match=r"test-00001.parquet: lacks the column\(s\) image, prompt"):
        read_dataset(dataset)
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(DataError, match="another program has rewritten it"):
        read_dataset(dataset)
    for note, expected in (
        ("[]", "spy_bench: "),
        ("{", "spy_bench: "),
        (json.dumps({"samples": 0}), "spy_bench: "),
    ):
        pq.write_table(table.replace_schema_metadata({"spy_bench": note}), path)
        with pytest.raises(DataError, match=f"test-00001.parquet, {expected}"):
            read_dataset(dataset)


def test_a_template_that_would_fill_the_memory_is_refused(dataset: Path) -> None:
    path = dataset / "data" / "test-00000.parquet"
    table = pq.read_table(path)
    words = json.loads(table.schema.metadata[b"spy_bench"])
    words["scenarios"]["s1"] = "{:>999999999}"
    pq.write_table(table.replace_schema_metadata({"spy_bench": json.dumps(words)}), path)
    with pytest.raises(DataError, match=r'"scenarios.s1" is a bad template'):
        read_dataset(dataset)


def test_files_of_two_exports_are_not_mixed(original: Benchmark, dataset: Path) -> None:
    export(original, "parquet", dataset / "data" / "x.parquet")
    table = pq.read_table(dataset / "data" / "x.parquet")
    words = json.loads(table.schema.metadata[b"spy_bench"])
    note = json.dumps(words | {"benchmark": "other"})
    pq.write_table(
        table.replace_schema_metadata({"spy_bench": note}), dataset / "data" / "x.parquet"
    )
    with pytest.raises(DataError, match=r"x.parquet: is of another export than .*test-00000"):
        read_dataset(dataset)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (None, "the picture 'images/test2017/0.jpg' is not in the file"),
        ({"bytes": None, "path": "/etc/passwd"}, "the picture 'images/test2017/0.jpg' is not in"),
        ({"bytes": b"x", "path": ""}, "the picture 'images/test2017/0.jpg' is another one than in"),
    ],
)
def test_a_wrong_picture_is_named_by_its_row(dataset: Path, image: Any, expected: str) -> None:
    path = dataset / "data" / "test-00000.parquet"
    change(path, set_in(3, image=image))
    with pytest.raises(DataError, match=f"test-00000.parquet, row 3: {expected}"):
        list(read_dataset(dataset).pictures())


def test_a_picture_that_does_not_decode_is_named_by_its_row(dataset: Path) -> None:
    path = dataset / "data" / "test-00001.parquet"
    change(path, set_in(1, image={"bytes": b"no picture", "path": ""}))
    with pytest.raises(DataError, match=r"test-00001.parquet, row 1: .*1.jpg' does not decode \("):
        list(read_dataset(dataset).pictures())


def test_without_arrow_the_extra_is_named(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spy_plugin.data.export.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'spy-bench\[train\]'"):
        read_dataset(dataset)
