"""Samples are exported with their pictures in formats that other tools read, offline."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from spy_plugin.benchmark.loading import load_release
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.cli.main import main, parse
from spy_plugin.data.export import COLUMNS, export
from spy_plugin.errors import DataError, MissingDependencyError, SpyBenchError
from tests.data.conftest import write_release


@pytest.fixture
def benchmark_of_three(tmp_path: Path) -> Benchmark:
    """Three items, fifteen samples, three pictures."""
    return load_release(write_release(tmp_path / "release"))


def test_jsonl_holds_every_sample_in_protocol_order(
    benchmark_of_three: Benchmark, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "samples.jsonl"
    assert export(benchmark_of_three, "jsonl", out) == 15
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    samples = list(benchmark_of_three.samples())
    assert [row["sample_id"] for row in rows] == [sample.sample_id for sample in samples]
    assert [row["prompt"] for row in rows] == [sample.prompt for sample in samples]
    assert tuple(rows[0]) == COLUMNS


def test_the_tsv_carries_each_picture_once(benchmark_of_three: Benchmark, tmp_path: Path) -> None:
    out = tmp_path / "SPYBench.tsv"
    export(benchmark_of_three, "vlmeval-tsv", out)
    rows = list(csv.DictReader(io.StringIO(out.read_text()), delimiter="\t"))
    assert [row["index"] for row in rows] == [str(number) for number in range(15)]
    samples = list(benchmark_of_three.samples())
    assert [row["question"] for row in rows] == [sample.prompt for sample in samples]
    for row, sample in zip(rows, samples, strict=True):
        image = row["image"] if len(row["image"]) > 64 else rows[int(row["image"])]["image"]
        expected = benchmark_of_three.image_file(sample).read_bytes()
        assert base64.b64decode(image) == expected
    assert sum(len(row["image"]) > 64 for row in rows) == 3


def test_parquet_reads_back_with_its_pictures(
    benchmark_of_three: Benchmark, tmp_path: Path
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "samples.parquet"
    assert export(benchmark_of_three, "parquet", out, distractors=False) == 15
    rows = pq.read_table(out).to_pylist()
    assert tuple(rows[0])[:-1] == COLUMNS
    assert rows[0]["prompt"] == "Hide name.\n\nWhat is on the card?"
    assert [row["scenario_is_privacy"] for row in rows[:5]] == [None, None, 0, 1, 1]
    with Image.open(io.BytesIO(rows[14]["image"]["bytes"])) as picture:
        assert picture.size == (8, 8)


def test_the_hf_dataset_loads_offline_with_decoded_pictures(
    benchmark_of_three: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("spy_plugin.data.export.ROWS_PER_GROUP", 4)
    monkeypatch.setattr("spy_plugin.data.export.SHARD_BYTES", 1)
    out = tmp_path / "dataset"
    assert export(benchmark_of_three, "hf-dataset", out) == 15
    assert len(list((out / "data").iterdir())) == 4
    script = (
        "import sys, datasets\n"
        "d = datasets.load_dataset(sys.argv[1], split='test', cache_dir=sys.argv[2])\n"
        "print(len(d), d[14]['image'].size, d[0]['is_privacy'], d[0]['sample_id'])"
    )
    (named,) = re.findall(
        r"Written by `spy-bench ([\w-]+ [\w-]+)`", (out / "README.md").read_text()
    )
    parse([*named.split(), "--format", "hf-dataset", "--out", "x"])  # the command exists
    command = [sys.executable, "-c", script, str(out), str(tmp_path / "cache")]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HOME": str(tmp_path)}
    ran = subprocess.run(command, capture_output=True, text=True, env=offline)
    assert ran.returncode == 0, ran.stderr
    first = next(iter(benchmark_of_three.samples()))
    assert ran.stdout.split("\n")[-2] == f"15 (8, 8) 1 {first.sample_id}"


def test_nothing_is_overwritten_and_no_part_stays(
    benchmark_of_three: Benchmark, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SpyBenchError, match="already exists"):
        export(benchmark_of_three, "jsonl", tmp_path / "out")
    with pytest.raises(SpyBenchError, match="unknown format"):
        export(benchmark_of_three, "csv", tmp_path / "other")
    picture = benchmark_of_three.image_file(list(benchmark_of_three.samples())[14])
    picture.unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match="the picture cannot be read"):
        export(benchmark_of_three, "vlmeval-tsv", tmp_path / "cut.tsv")
    assert sorted(tmp_path.iterdir()) == before


def test_the_official_layout_holds_both_variants_or_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(write_release(tmp_path / "release")))
    words = ["data", "export", "--format", "official", "--out", str(tmp_path / "out")]
    assert main([*words, "--no-distractors"]) == 1
    assert capsys.readouterr().err == (
        "spy-bench: error: the format official always holds both variants, with and without "
        "distractors. Leave --no-distractors out, or choose another --format.\n"
    )
    assert not (tmp_path / "out").exists()


def test_the_command_exports_the_benchmark_at_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(write_release(tmp_path / "release")))
    out = tmp_path / "samples.jsonl"
    assert main(["data", "export", "--format", "jsonl", "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 15
    assert capsys.readouterr().out == f"15 samples -> {out}\n"


@pytest.mark.parametrize("kind", ["parquet", "hf-dataset"])
def test_without_arrow_the_extra_is_named_and_nothing_is_written(
    kind: str, benchmark_of_three: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spy_plugin.data.export.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'spy-bench\[train\]'"):
        export(benchmark_of_three, kind, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
