"""Answers round-trip through the host's prediction files."""

from __future__ import annotations

from pathlib import Path

import pytest

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import DataError

declare_missing_ops()

pd = pytest.importorskip("pandas")
pytest.importorskip("vlmeval")

from spy_plugin.hosts.vlmeval import patches, predictions  # noqa: E402

ANSWERS = [
    "N/A",
    "None",
    "",
    "=1+1",
    "-5",
    "007",
    "two\nlines",
    "nan",
    "a\ttab",
    "https://example.com",
]


@pytest.mark.parametrize("suffix", ["xlsx", "tsv", "json"])
def test_answers_survive_the_hosts_files(suffix: str, tmp_path: Path) -> None:
    from vlmeval.smp import dump

    path = tmp_path / f"m_SPYBench.{suffix}"
    rows = [
        {"index": i, "sample_id": f"0000{i}/x", "question": f"q {i}\n\nwhat?", "prediction": answer}
        for i, answer in enumerate(ANSWERS)
    ]
    dump(pd.DataFrame(rows), str(path))
    expected = [(row["sample_id"], row["question"], row["prediction"]) for row in rows]
    assert list(predictions.read_predictions(path)) == expected


def test_a_file_of_another_data_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m_MMMU.tsv"
    path.write_text("index\tprediction\n1\tA\n")
    with pytest.raises(DataError, match="has no column question, sample_id"):
        list(predictions.read_predictions(path))


@pytest.mark.parametrize("suffix", ["xlsx", "tsv"])
def test_the_host_resumes_its_own_files_unchanged(suffix: str, tmp_path: Path) -> None:
    import vlmeval.inference as host
    from vlmeval.smp import dump

    patches.keep_reloaded_answers()
    path = tmp_path / f"m_SPYBench.{suffix}"
    rows = [
        {"index": i, "sample_id": f"0000{i}/x", "question": f"q {i}", "prediction": answer}
        for i, answer in enumerate(ANSWERS)
    ]
    dump(pd.DataFrame(rows), str(path))
    assert list(host.load(str(path))["prediction"]) == ANSWERS
    other = tmp_path / f"m_MMMU.{suffix}"
    dump(pd.DataFrame([{"index": 1, "hint": "N/A", "prediction": "A"}]), str(other))
    assert host.load(str(other))["hint"].isna().all()  # other benchmarks depend on it
