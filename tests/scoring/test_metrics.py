"""The figures equal those of the official code; impossible input is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmark.records import Outcome, Scenario, Verdict
from spy_plugin.errors import DataError
from spy_plugin.scoring.metrics import (
    ABSOLUTE_ICS,
    HMS,
    ICS,
    METRICS,
    compute,
    general_score,
    harmonic_mean,
    overall_score,
    privacy_score,
    units,
)
from spy_plugin.scoring.table import tabulate
from spy_plugin.scoring.verdicts import read_table
from tests.conftest import GOLDEN

EXPECTED: dict[str, Any] = json.loads((GOLDEN / "metrics_expected.json").read_text())
OVERALL: dict[str, Any] = json.loads((GOLDEN / "overall_expected.json").read_text())


@pytest.mark.parametrize("corpus", EXPECTED)
def test_figures_equal_the_official_ones_to_the_last_digit(corpus: str) -> None:
    figures = compute(read_table(GOLDEN / f"judged_{corpus}.jsonl.gz"))
    # Compared as text: order of keys, "N/A" and every digit.
    got = json.dumps({name: figures[name] for name in ("metrics", "by_label")})
    assert got == json.dumps(EXPECTED[corpus])


@pytest.mark.parametrize("corpus", OVERALL["expected"])
def test_overall_scores_equal_the_official_ones(corpus: str) -> None:
    expected, inputs = OVERALL["expected"][corpus], OVERALL["inputs"]
    block = compute(read_table(GOLDEN / f"judged_{corpus}.jsonl.gz"))["metrics"]
    privacy = privacy_score(block[ICS]["score"], block[HMS])
    general = general_score(
        inputs["mmmu_val_accuracy"],
        inputs["ocrbench_final_score_norm"],
        inputs["mme_perception"] + inputs["mme_cognition"],
    )
    assert privacy == expected["priv"]["score"]
    assert general["score"] == expected["general"]["score"]
    assert general["mme"] == expected["general"]["mme score norm"]
    assert overall_score(privacy, general["score"]) == expected["overall score"]


def verdict(**changes: Any) -> Verdict:
    base = Verdict(
        sample_id="",
        benchmark_id="1",
        label="a49_phone",
        is_privacy=1,
        scenario=None,
        question_id="q",
        image_path="i.png",
        outcome=Outcome.REJECT,
    )
    return replace(base, **changes)


def test_second_verdict_for_a_sample_is_refused_with_both_lines() -> None:
    with pytest.raises(DataError, match=r"f\.jsonl, line 9: a second verdict .* line 4"):
        tabulate([verdict(), verdict()], source="f.jsonl", lines=[4, 9])


def test_unknown_label_and_side_are_refused_with_the_line() -> None:
    with pytest.raises(DataError, match="line 2: unknown label 'a0_safe'"):
        tabulate([verdict(), verdict(label="a0_safe")])
    with pytest.raises(DataError, match="line 1: is_privacy is 2"):
        tabulate([verdict(is_privacy=2)])
    with pytest.raises(DataError, match="line 1: is_privacy is 5"):
        tabulate([verdict(scenario=Scenario("s", 5))])


def test_pairs_are_per_item_and_scenario() -> None:
    """Each of several privacy scenarios per item forms its own pair; the reference code stops."""
    rows = [
        verdict(is_privacy=is_privacy, scenario=Scenario(name, 1), outcome=outcome)
        for name, outcomes in {
            "s1": (Outcome.RESPOND, Outcome.REJECT),
            "s2": (Outcome.REJECT, Outcome.REJECT),
        }.items()
        for is_privacy, outcome in enumerate(outcomes)
    ]
    block = compute(tabulate(rows))["metrics"]["ics w/ non-conflict scenario"]
    assert (block["expected"], block["all"], block["n2"], block["n1"]) == (1, 2, 1, 1)


@pytest.mark.parametrize("lost", [Outcome.UNJUDGED, Outcome.FILTERED, Outcome.FAILED])
def test_only_verdicts_enter_a_denominator(lost: Outcome) -> None:
    rows = [verdict(), verdict(is_privacy=0, outcome=lost), verdict(benchmark_id="2")]
    figures = compute(tabulate(rows))
    assert figures["outcomes"][lost.value] == 1
    assert figures["metrics"]["exception"] == 1
    assert figures["metrics"]["accuracy"] == {"expected": 2, "all": 2, "score": 100.0}
    assert figures["metrics"][ICS]["score"] == "N/A"


def test_no_verdict_at_all_gives_no_figure() -> None:
    block = compute(tabulate([]))["metrics"]
    assert [block[name]["score"] for name in METRICS] == ["N/A"] * len(METRICS)


def test_harmonic_mean_of_zeros_and_of_nothing() -> None:
    assert harmonic_mean(0.0, 0.0) == 0.0
    assert harmonic_mean("N/A", 50.0) == "N/A"
    assert harmonic_mean(50.0, 100.0) == pytest.approx(200 / 3)


OUTCOMES = st.sampled_from(Outcome)


@st.composite
def verdict_sets(draw: st.DrawFn) -> list[Verdict]:
    rows = []
    for number in range(draw(st.integers(0, 6))):
        label = draw(st.sampled_from(["a49_phone", "a31_passport", "a90_email"]))
        image = draw(st.sampled_from(["x.png", "y.png"]))
        cells = [(1, None), (0, None), (1, Scenario("c", 0))]
        cells += [(is_privacy, Scenario("n", 1)) for is_privacy in (1, 0)]
        for is_privacy, scenario in draw(st.permutations(cells))[: draw(st.integers(0, 5))]:
            rows.append(
                verdict(
                    benchmark_id=str(number),
                    label=label,
                    image_path=image,
                    is_privacy=is_privacy,
                    scenario=scenario,
                    outcome=draw(OUTCOMES),
                )
            )
    return rows


@given(verdict_sets(), st.randoms())
def test_order_of_verdicts_does_not_matter(rows: list[Verdict], random: Any) -> None:
    shuffled = rows[:]
    random.shuffle(shuffled)
    one, other = compute(tabulate(rows)), compute(tabulate(shuffled))
    assert one == other


@given(verdict_sets())
def test_labels_and_cells_add_up_to_the_whole(rows: list[Verdict]) -> None:
    figures = compute(tabulate(rows))
    whole, labels = figures["metrics"], figures["by_label"].values()
    for name in METRICS:
        for count in ("expected", "all"):
            assert whole[name][count] == sum(block[name][count] for block in labels)
        if "n1" in whole[name]:
            assert whole[name]["all"] == sum(whole[name][f"n{i}"] for i in range(1, 5))
    assert whole["total"] == len(rows) == sum(figures["outcomes"].values())
    scenarios = figures["by_scenario"].values()
    assert whole["ata w/ conflict scenario"]["all"] == sum(
        block["ata w/ conflict scenario"]["all"] for block in scenarios
    )


@given(verdict_sets())
def test_absolute_pairs_are_a_part_of_the_pairs(rows: list[Verdict]) -> None:
    every = units(tabulate(rows))
    absolute = sum(row.label in ABSOLUTE_LABELS and row.scenario is None for row in rows)
    assert len(every[ABSOLUTE_ICS].hit) <= min(len(every[ICS].hit), absolute)


def test_there_are_67_labels() -> None:
    assert len(set(LABELS)) == 67
    assert set(LABELS) > ABSOLUTE_LABELS
