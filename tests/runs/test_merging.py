"""Merged shards equal one run; shards that do not belong together are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError
from spy_plugin.generation.generate import generate
from spy_plugin.models.fake import FakeModel
from spy_plugin.runs import merging
from spy_plugin.runs.answer_file import AnswerFile
from spy_plugin.runs.identity import read_run, run_file
from spy_plugin.runs.merging import merge
from spy_plugin.runs.sharding import Shard, samples_of_shard

Open = Callable[..., AnswerFile]


@pytest.fixture
def run_shard(
    benchmark: Benchmark, samples: list[Sample], open_file: Open, tmp_path: Path
) -> Callable[..., Path]:
    """Generate one shard and return its file."""

    def run(text: str, limit: int | None = None, **changed: object) -> Path:
        shard = Shard.parse(text)
        path = tmp_path / f"m_{shard.number}{len(changed)}_answers.jsonl"
        file = open_file(shard=shard, path=path, **changed)
        generate(samples_of_shard(samples, shard)[:limit], benchmark, FakeModel(), file)
        return path

    return run


def test_two_shards_make_one_run_that_can_be_gone_on_with(
    run_shard: Callable[..., Path],
    benchmark: Benchmark,
    samples: list[Sample],
    open_file: Open,
    tmp_path: Path,
) -> None:
    parts = [run_shard("1/2"), run_shard("2/2")]
    assert [len(read_answers(part).by_id) for part in parts] == [20, 20]
    merged, run = merge(parts)
    assert merged == tmp_path / "m_SPYBench_answers.jsonl"
    assert set(read_answers(merged).by_id) == {sample.sample_id for sample in samples}
    assert (run.samples, run.usage["generate"].requests) == (40, 40)
    known = read_run(merged)
    assert known is not None
    assert known.options["shard"] == ""
    idle = FakeModel()
    generate(samples, benchmark, idle, open_file(path=merged))
    assert idle.asked == []


def test_what_does_not_fit_is_refused(run_shard: Callable[..., Path], tmp_path: Path) -> None:
    one, two = run_shard("1/3"), run_shard("2/3")
    out = tmp_path / "out_answers.jsonl"
    with pytest.raises(DataError, match="of 3 shards, 3 is not given"):
        merge([one, two], out)
    with pytest.raises(DataError, match="shard 1/3 is given twice"):
        merge([one, one, two], out)
    with pytest.raises(DataError, match="begun with model m; this run has model other"):
        merge([one, two, run_shard("3/3", name="other")], out)
    with pytest.raises(DataError, match=r"is shard 3/4, but .* is shard 1/3"):
        merge([one, two, run_shard("3/4")], out)
    assert not out.exists()


def test_an_unfinished_shard_is_refused(run_shard: Callable[..., Path]) -> None:
    parts = [run_shard("1/2"), run_shard("2/2", limit=13)]
    with pytest.raises(DataError, match="7 samples of this shard have no answer yet"):
        merge(parts)


def test_shards_that_share_a_sample_are_refused(run_shard: Callable[..., Path]) -> None:
    parts = [run_shard("1/2"), run_shard("2/2")]
    lines = parts[1].read_text().splitlines(keepends=True)
    parts[1].write_text(parts[0].read_text().splitlines(keepends=True)[0] + "".join(lines[1:]))
    with pytest.raises(DataError, match="the sample is in another shard, too"):
        merge(parts)


def test_what_is_no_shard_is_refused(
    benchmark: Benchmark, samples: list[Sample], open_file: Open, tmp_path: Path
) -> None:
    file = open_file()
    generate(samples, benchmark, FakeModel(), file)
    with pytest.raises(DataError, match="is not a shard"):
        merge([file.path])
    with pytest.raises(DataError, match=r"missing\.jsonl: cannot be read \(no such file\)"):
        merge([tmp_path / "missing.jsonl"])
    (tmp_path / "bare.jsonl").write_text("")
    with pytest.raises(DataError, match=r"is not a shard: bare_run\.json"):
        merge([tmp_path / "bare.jsonl"])


def test_nothing_is_overwritten(run_shard: Callable[..., Path]) -> None:
    parts = [run_shard("1/2"), run_shard("2/2")]
    merged, _ = merge(parts)
    before = merged.read_bytes()
    with pytest.raises(DataError, match="exists"):
        merge(parts)
    assert merged.read_bytes() == before


def test_a_merge_that_was_stopped_between_its_files_can_be_run_again(
    run_shard: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    parts, out = [run_shard("1/2"), run_shard("2/2")], tmp_path / "all_answers.jsonl"
    with monkeypatch.context() as stopping:
        stopping.setattr(merging, "write_atomically", stop)
        with pytest.raises(KeyboardInterrupt):
            merge(parts, out)
    assert run_file(out).exists()
    assert not out.exists()
    with pytest.raises(DataError, match=r"all_run\.json: exists"):
        merge([run_shard("1/1", name="other")], out)
    merge(parts, out)
    assert len(read_answers(out).by_id) == 40
