"""Answers round-trip through the host's prediction files."""

from __future__ import annotations

import importlib
from codecs import BOM_UTF8
from pathlib import Path

import pytest

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import DataError

declare_missing_ops()

pd = pytest.importorskip("pandas")
pytest.importorskip("vlmeval")

from spy_plugin.benchmark.records import Outcome  # noqa: E402
from spy_plugin.hosts.vlmeval import patches  # noqa: E402
from spy_plugin.hosts.vlmeval.prediction_table import PredictionTable  # noqa: E402
from spy_plugin.hosts.vlmeval.predictions import answer_of, turns_text  # noqa: E402
from spy_plugin.hosts.vlmeval.tables import read_predictions, write_predictions  # noqa: E402

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
    assert list(read_predictions(path)) == expected
    if suffix != "xlsx":
        path.write_bytes(BOM_UTF8 + path.read_bytes())  # as some editors save it
        assert list(read_predictions(path)) == expected


def test_a_file_of_another_data_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m_MMMU.tsv"
    path.write_text("index\tprediction\n1\tA\n")
    with pytest.raises(DataError, match="has no column question, sample_id"):
        list(read_predictions(path))


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


ODD = [
    *ANSWERS,
    "http://a.example/a " + "x" * 3000,
    "y" * 40_000,
    "\U0001f642" * 90_000,
    "a\r\nb",
    "_x0041_",
    "\ufeffbom",
    '["a", "b"]',
    "line\n\n ",
    "<think>hm</think>No.",
]


@pytest.mark.parametrize("suffix", ["xlsx", "tsv", "json"])
@pytest.mark.parametrize("pipeline", ["inference", "inference_mt", "inference_api"])
def test_odd_answers_survive_the_files_that_the_host_writes_and_resumes(
    suffix: str, pipeline: str, tmp_path: Path
) -> None:
    host = importlib.import_module(f"vlmeval.{pipeline}")
    patches.keep_reloaded_answers()
    path = tmp_path / f"m_SPYBench.{suffix}"
    said = [*ODD, "half \ud83d", "nul \x00"]
    rows = [{"index": i, "sample_id": f"0000{i}/x", "question": f"q {i}"} for i in range(len(said))]
    table = PredictionTable(rows)[:].copy()  # as the host takes parts and copies
    table["prediction"] = said
    host.dump(table, str(path))
    read = [text for _, _, text in read_predictions(path)]
    assert read == [*ODD, "half \ufffd", "nul \ufffd"]
    if suffix != "json":
        assert list(host.load(str(path))["prediction"]) == read
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_long_text_beside_the_answer_is_cut_with_a_mark(tmp_path: Path) -> None:
    row = {"sample_id": "a", "question": "q", "prediction": "no", "thinking": "t" * 50_000}
    write_predictions(tmp_path / "m.xlsx", [row])
    assert list(read_predictions(tmp_path / "m.xlsx")) == [("a", "q", "no")]
    cut = pd.read_excel(tmp_path / "m.xlsx")["thinking"][0]
    assert len(cut) == 16_383
    assert cut.endswith("[cut here: 50000 characters]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>It is 1.</think>\n\nNo.", "No."),
        ("It is 1.</think>No.", "No."),
        ("No.", "No."),
        ("", ""),
    ],
)
def test_thoughts_are_not_judged(text: str, said: str) -> None:
    assert answer_of("a", text, self_moderation=False).scored == said
    turns = answer_of("a", turns_text((text, "b", text)), self_moderation=True)
    assert (turns.response, turns.turns) == (said, ("b", said))


def test_an_answer_that_ends_within_its_thoughts_has_failed() -> None:
    cut = answer_of("a", "<think>It is 1, so", self_moderation=False)
    assert (cut.outcome, cut.response) == (Outcome.FAILED, "")
    assert "more tokens" in cut.error
