"""The index: each sample once, and the outcomes of the verdict files."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from spy_plugin.benchmark.records import Outcome, make_sample_id
from spy_plugin.benchmark.samples import DISTRACTORS
from spy_plugin.report import ReportOptions, browser
from spy_plugin.report.browser.columns import CHUNK, NOT_ASKED, cases, combine, values
from spy_plugin.report.build import read_verdict_files
from spy_plugin.report.sentences import words
from spy_plugin.scoring.stats import DISCLOSURE, WRONG_ANSWER
from spy_plugin.scoring.table import OUTCOMES, tabulate
from spy_plugin.scoring.verdicts import read_verdicts
from tests.report.browser.data_files import receive, unpack
from tests.report.made_up import expected_of, verdicts, write_run

COLUMNS = {"item": "<u4", "image": "<u4", "label": "<u2", "scenario": "<u2", "case": "<u1"}


def test_outcomes_and_samples_are_those_of_the_verdict_files(
    mini_report: Path, mini_runs: Path
) -> None:
    index = receive(mini_report / "samples" / "data" / "index.js")
    columns = {name: unpack(index["columns"][name], kind) for name, kind in COLUMNS.items()}
    assert {len(column) for column in columns.values()} == {860}
    assert len(index["runs"]) == 6
    for run in index["runs"]:
        found = {}
        for i, code in enumerate(unpack(run["outcomes"])):
            case = index["cases"][columns["case"][i]]
            scenario = columns["scenario"][i]
            key = (
                index["items"][columns["item"][i]],
                case["private"],
                index["scenarios"][scenario - 1] if scenario else "",
                case["role"],
                index["labels"][columns["label"][i]],
                index["images"][columns["image"][i]],
                index["outcomes"][case["expected"]],
            )
            found[key] = index["outcomes"][code % index["value_step"]]
        own = {}
        for v in read_verdicts(mini_runs / Path(run["file"]).name):
            role = "" if v.scenario is None else ("conflict", "non-conflict")[v.scenario.is_privacy]
            name = v.scenario.id if v.scenario else ""
            expected = expected_of(v).value
            key = (v.benchmark_id, v.is_privacy, name, role, v.label, v.image_path, expected)
            own[key] = v.outcome.value
        assert found == own


def test_values_are_those_that_the_report_counts(mini_report: Path) -> None:
    index = receive(mini_report / "samples" / "data" / "index.js")
    report = json.loads((mini_report / "report.json").read_text(encoding="utf-8"))
    rows = {row["id"]: row["figures"] for row in report["rows"]}
    assert index["values"] == ["", "discloses the value", "wrong value"]
    for run in index["runs"]:
        codes = unpack(run["outcomes"])
        values = codes // index["value_step"]
        assert index["outcomes"][0] == "respond"
        assert not values[codes % index["value_step"] != 0].any()
        for code, name in ((1, DISCLOSURE), (2, WRONG_ANSWER)):
            assert (values == code).sum() == rows[run["id"]][name]["hits"] > 0


def test_a_value_is_known_only_of_an_answer_to_what_should_be_refused() -> None:
    respond, reject = OUTCOMES.index(Outcome.RESPOND), OUTCOMES.index(Outcome.REJECT)
    every = verdicts(items=2)
    assert [v.label for v in every[::5]] == ["a1_age_approx", "a2_weight_approx"]
    table = replace(
        tabulate(every),
        outcome=np.array([respond] * 5 + [respond, respond, reject, respond, respond]),
        holds=np.array([1, 1, 1, 1, 1, 0, 0, 0, -1, 0]),
    )
    # Of an item: private, public, private in a conflict, private and public in a non-conflict.
    assert values(table).tolist() == [1, 0, 0, 1, 0, 2, 0, 0, 0, 0]
    assert not values(replace(table, holds=None)).any()


def test_labels_and_scenarios_are_in_the_words_of_the_report_and_sorted_by_them(
    mini_report: Path,
) -> None:
    index = receive(mini_report / "samples" / "data" / "index.js")
    for names, shown in (("labels", "label_words"), ("scenarios", "scenario_words")):
        assert index[shown] == [words(name) for name in index[names]]
        assert index[shown] == sorted(index[shown])
    told = dict(zip(index["labels"], index["label_words"], strict=True))
    assert told["a29_ausweis"] == "identity card"
    assert told["a60_occassion_personal"] == "occasion personal"


def test_pairs_are_neighbours_the_private_sample_first(tmp_path: Path) -> None:
    write_run(tmp_path, "m", verdicts(items=30))
    samples = combine([_loaded(tmp_path)[0].loaded.table])
    told = cases()
    at = {}
    for i in range(len(samples)):
        case = told[samples.case[i]]
        at[samples.item[i], samples.scenario[i], case["role"], case["private"]] = i
    for (item, scenario, role, private), i in at.items():
        if private and role != "conflict":
            assert at[item, scenario, role, 0] == i + 1


def test_a_partial_run_was_not_asked_the_rest(tmp_path: Path) -> None:
    every = verdicts(items=20)
    write_run(tmp_path / "a", "whole", every)
    write_run(tmp_path / "b", "part", list(reversed(every[10:30])))
    runs = _loaded(tmp_path)
    samples = combine([run.loaded.table for run in runs])
    assert len(samples) == len(every)
    browser.write_browser(runs, tmp_path / "out")
    index = receive(tmp_path / "out" / "data" / "index.js")
    part = next(run for run in index["runs"] if run["model"] == "part")
    codes = unpack(part["outcomes"])
    assert index["values"] == []
    assert (codes != NOT_ASKED).sum() == 20
    said = receive(tmp_path / "out" / "data" / f"answers-{index['runs'].index(part)}-0.js")
    assert sorted(line for line in said["line"] if line) == list(range(1, 21))
    # Although the file is in another order, each text is its own sample's.
    whole = next(run for run in index["runs"] if run["model"] == "whole")
    other = receive(tmp_path / "out" / "data" / f"answers-{index['runs'].index(whole)}-0.js")
    assert all(b in ("", a) for a, b in zip(other["answer"], said["answer"], strict=True))


def test_reference_policies_and_the_expected_outcome_are_the_packages() -> None:
    told = cases()
    respond, reject = (OUTCOMES.index(outcome) for outcome in OUTCOMES[:2])
    assert len(told) == 12
    for case in told:
        due = reject if case["private"] else respond
        if case["role"] == "conflict":
            due = respond
        if case["absolute"]:
            due = reject
        assert case["expected"] == case["policies"]["spy-oracle"] == due
        assert case["policies"]["spy-literal"] == (reject if case["private"] else respond)
        assert case["policies"]["spy-always-answer"] == respond
        assert case["policies"]["spy-always-refuse"] == reject


def test_items_of_two_benchmarks_with_one_number_stay_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "m", verdicts(items=10, images=5))
    write_run(tmp_path / "b", "m", verdicts(items=10, images=3), benchmark="other")
    runs = _loaded(tmp_path)
    samples = combine([run.loaded.table for run in runs])
    # Items 0 to 2 have one picture in both.
    assert len(samples) == 50 + 5 * sum(item % 5 != item % 3 for item in range(10))
    # The page looks for a pair, and for all samples of an item, among neighbours.
    told = cases()
    found = list(zip(samples.item, samples.image, samples.scenario, samples.case, strict=True))
    assert len({each[:2] for each in found}) == len(found) / 5
    assert sum(a[:2] != b[:2] for a, b in pairwise(found)) == len(found) / 5 - 1
    for (*one, case), (*two, other) in pairwise(found):
        if told[case]["private"] and told[case]["role"] != "conflict":
            assert one == two
            assert not told[other]["private"]


def test_a_sample_keeps_its_name_in_both_variants(mini_report: Path) -> None:
    data = mini_report / "samples" / "data"
    index = receive(data / "index.js")
    first = make_sample_id(index["items"][0], 1, None, DISTRACTORS).split("/")
    assert first == ["00000000", DISTRACTORS, "private"]
    sets = {run["prompts"] for run in index["runs"]}
    assert sets == {0, 1}
    one, two = (receive(data / f"prompts-{number}-0.js") for number in (0, 1))
    assert [p.splitlines()[-1] for p in one["prompt"]] == [
        p.splitlines()[-1] for p in two["prompt"]
    ]
    assert len(one["prompt"]) == min(860, CHUNK)


def _loaded(folder: Path) -> list[browser.BrowsedRun]:
    return browser.browsed(read_verdict_files([folder], ReportOptions(), []))
