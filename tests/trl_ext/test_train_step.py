"""The training step benchmark runs, counts correctly, and its modes agree."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from spy_plugin.compat.torchvision import declare_missing_ops  # noqa: E402

declare_missing_ops()

from benchmarks.modes import modes  # noqa: E402
from benchmarks.report import report, save  # noqa: E402
from benchmarks.train_step import Bench  # noqa: E402
from benchmarks.workload import SIZES, Case, Work, build_rows  # noqa: E402

CASE = Case(grid=(4, 4), head=3, prompt=20, shared=4, question=8, answer=5, rows=2)


def test_the_worst_case_shares_the_picture_the_head_and_half_a_row():
    rows = build_rows(SIZES["tiny"], CASE, "image")
    # head and picture; per row: shared part, two sides, four answers without their last token
    expected = 3 + 4 + 2 * (4 + 2 * (5 + 8) + 4 * (5 - 1))
    assert Work.of_tree(rows).columns == expected
    assert Work.of_tree(rows).pictures == 1
    assert Work.of_tree(rows).logits == 2 * 4 * 5


def test_rows_of_one_item_differ_in_the_question_alone():
    item = build_rows(SIZES["tiny"], Case(**{**vars(CASE), "item_rows": 2}), "image")
    expected = 3 + 4 + 4 + 2 * 5 + 2 * 2 * 8 + 2 * 4 * (5 - 1)
    assert Work.of_tree(item).columns == expected


def test_the_plain_batch_computes_every_sequence():
    rows = build_rows(SIZES["tiny"], CASE, "sequence")
    length = 4 + 20 + 5
    work = Work.of_sequences(rows, all_logits=True)
    assert work.columns == work.logits == 8 * length
    assert work.pairs == 8 * length * (length + 1) // 2
    assert work.pictures == 8


def test_every_mode_runs_and_gives_the_log_probs_of_the_official_algorithm(tmp_path):
    bench = Bench("tiny", CASE, torch.device("cpu"), torch.float32, liger=False)
    results = [bench.run(mode, 1) for mode in modes(gpu=False, micro=1, row_micro=2)]
    assert len({result["name"] for result in results}) == len(results) == 10
    assert max(result["largest_difference"] for result in results) < 1e-4
    machine = {
        "size": "tiny",
        "device": "CPU",
        "torch": torch.__version__,
        "transformers": "5",
        "date": "2026-01-01",
        "matrix_peak": 1e12,
        "case": {},
    }
    assert all(result["name"] in report(results, machine) for result in results)
    save(tmp_path, results, machine)
    saved = json.loads((tmp_path / "tiny-CPU-2026-01-01.json").read_text())
    assert [each["name"] for each in saved["results"]] == [each["name"] for each in results]
