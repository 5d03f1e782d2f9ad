"""The report page of the lab, and its JSON file."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from spy_plugin.errors import DataError
from spy_plugin.lab import curves
from spy_plugin.lab.arms import Arm
from spy_plugin.lab.report import interval_note, render, rows, summary_lines, write_report
from spy_plugin.lab.results import (
    Comparison,
    Difference,
    Estimate,
    Figure,
    LabResults,
    Method,
    Point,
    Run,
)
from spy_plugin.report.render.svg import Colors
from tests.conftest import needs

CURVE = tuple(
    Point(step=step, loss=2 / (1 + step), ics=step / 2, hms=step / 2, answers=95 - step / 100)
    for step in range(0, 101, 10)
)


def run(method: Method = "nca_priv", seed: int = 0, **figures: Any) -> Run:
    scores = {
        "ics": 50.0,
        "ics_scenario": 50.0,
        "rta": 50.0,
        "ata_conflict": 50.0,
        "hms": 50.0,
        "answers": 90.0,
    }
    settings = {"learning_rate": 0.001, "beta": 0.05}
    known = {"seconds": 10.0, "samples": 1200, "curve": CURVE, "settings": settings}
    return Run(method=method, seed=seed, **{**scores, **known, **figures})


def lab(*runs: Run, **about: Any) -> LabResults:
    known = {
        "size": "tiny",
        "data_fingerprint": "f00d",
        "judge": "rules",
        "versions": {"torch": "2.13.0"},
    }
    return LabResults(runs=runs, **{**known, **about})


def drawings(page: str) -> list[ElementTree.Element]:
    """Parse the panels of a page; each must be well-formed XML."""
    return [
        ElementTree.fromstring(svg) for svg in re.findall(r"<svg[^>]*role=.*?</svg>", page, re.S)
    ]


def count(drawing: ElementTree.Element, kind: str) -> int:
    return len(drawing.findall(f".//g[@class='{kind}']"))


def test_writes_a_page_and_the_numbers_it_shows(tmp_path: Path) -> None:
    results = lab(run("base", curve=()), run())
    page = write_report(results, tmp_path / "new")
    assert page == tmp_path / "new" / "lab.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert LabResults.from_json(tmp_path / "new" / "lab.json") == results


def test_the_page_loads_nothing() -> None:
    page = render(lab(run("base"), run()))
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert not re.search(r"url\((?!#)", page)


def test_untrusted_text_is_escaped() -> None:
    bad = "<img src=x onerror=alert(1)>\"'&"
    settings = {bad: bad}
    results = lab(
        run(settings=settings), size=bad, data_fingerprint=bad, judge=bad, versions={bad: bad}
    )
    page = render(results)
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;") >= 7


@needs("matplotlib")
def test_one_seed_shows_single_values_and_one_line_a_panel() -> None:
    page = render(lab(run("base", curve=()), run()))
    found = drawings(page)
    assert [drawing.findtext("title") for drawing in found] == [
        f"{title} against training steps" for title in curves.MEASURES.values()
    ]
    assert [(count(d, "mean"), count(d, "seed")) for d in found] == [(1, 0)] * 4
    assert "the mean over the seeds" not in page
    assert "Single runs" not in page


@needs("matplotlib")
def test_three_seeds_show_mean_and_single_runs_and_faint_lines() -> None:
    seeds = [run(seed=seed, ics=ics) for seed, ics in enumerate((90.0, 93.0, 99.0))]
    assert rows(seeds)[0].cells[0].mean == 94
    page = render(lab(*seeds))
    assert "the mean over the seeds" in page
    assert re.findall(r'<td class="num">(\d)</td><td class="num">(.*?)</td>', page) == [
        ("0", "90.0"),
        ("1", "93.0"),
        ("2", "99.0"),
    ]
    assert [(count(d, "mean"), count(d, "seed")) for d in drawings(page)] == [(1, 3)] * 4


def estimate(mean: float, seeds: int) -> Estimate:
    return Estimate(mean=mean, low=mean - 2, high=mean + 3, seeds=seeds)


FIGURES: tuple[Figure, ...] = ("ics", "hms", "answers")


def gap(second: Arm, figure: Figure, low: float, high: float, verdict: Any) -> Difference:
    return Difference(
        first="nca_priv",
        second=second,
        figure=figure,
        seeds=(3, 3),
        difference=(low + high) / 2,
        low=low,
        high=high,
        verdict=verdict,
    )


def compared(seeds: int = 3, *, near: tuple[float, float] = (-1.5, 0.5)) -> LabResults:
    """A lab of NCA-P and SFT with a made-up comparison."""
    runs = [run(method, seed) for method in ("sft", "nca_priv") for seed in range(seeds)]
    differences = (
        gap("sft", "ics", 1, 4, "better"),
        gap("sft", "hms", -3, 1, "no difference shown"),
        gap("sft", "answers", -9, -4, "worse"),
        gap("base", "answers", *near, "no difference shown"),
    )
    return lab(
        run("base", curve=()),
        *runs,
        comparison=Comparison(
            level=0.95,
            pictures=120,
            resamples=20_000,
            estimates={"nca_priv": {"ics": estimate(50, seeds)}},
            differences=differences,
        ),
    )


def test_a_method_is_shown_with_its_interval_and_its_differences_in_words() -> None:
    page = render(compared())
    assert "<b>50.0</b><small>48.0 – 53.0</small>" in page
    said = re.findall(r"<b>(\S+)</b><small>(.*?)</small><small class=.*?>(.*?)</small>", page)
    assert said == [
        ("+2.5", "+1.0 to +4.0", "better"),
        ("−1.0", "−3.0 to +1.0", "no difference shown"),
        ("−6.5", "−9.0 to −4.0", "worse"),
    ]
    assert '<td class="num">−1.5 to +0.5</td><td>within 2 points</td>' in page
    assert summary_lines(compared())[3:6] == [
        "NCA-P minus SFT, ICS: +2.5 [+1.0, +4.0], better",
        "NCA-P minus SFT, HMS: −1.0 [−3.0, +1.0], no difference shown",
        "NCA-P minus SFT, answers: −6.5 [−9.0, −4.0], worse",
    ]


@pytest.mark.parametrize(
    ("near", "words"),
    [
        ((-1.9, 4.0), "within 2 points"),
        ((-2.1, 1.0), "not decided"),
        ((-9.0, -2.1), "lost more than 2 points"),
    ],
)
def test_answers_are_within_two_points_only_if_the_interval_is(
    near: tuple[float, float], words: str
) -> None:
    assert summary_lines(compared(near=near))[6].endswith(f", {words}")


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((-2.9, 3.0), "within 3 points"),
        ((-3.1, 1.0), "not decided"),
        ((-9.0, -3.1), "more than 3 points"),
    ],
)
def test_two_ways_to_share_prefixes_are_the_same_only_if_the_interval_is_near_zero(
    bounds: tuple[float, float], words: str
) -> None:
    runs = [run(seed=seed, prefix_sharing=how) for how in ("image", "row") for seed in (0, 1)]
    differences = tuple(gap("nca_priv-row", figure, *bounds, "worse") for figure in FIGURES)
    comparison = Comparison(level=0.95, pictures=120, resamples=20_000, differences=differences)
    results = lab(run("base", curve=()), *runs, comparison=comparison)
    page = render(results)
    assert [row.title for row in rows(runs)] == ["NCA-P", "NCA-P, row"]
    assert "NCA-P minus NCA-P, row<small>3 seeds</small>" in page
    assert page.count(f'<small class="worse">{words}</small>') == 3
    assert "NCA-P against the others" not in page
    assert summary_lines(results)[3].startswith("NCA-P minus NCA-P, row, ICS: ")
    assert summary_lines(results)[3].endswith(f", {words}")


def test_the_page_says_what_the_models_were_trained_on() -> None:
    trained = {"device": "NVIDIA H200", "versions": {"torch": "2.11.0"}, "jobs": 12}
    page = render(lab(run("base"), run(seed=0, **trained), run(seed=1, **trained)))
    assert page.count("<td>NVIDIA H200, torch 2.11.0, 12 stages at once</td>") == 1
    assert page.count("<td>–</td>") == 1  # the base left no record


def test_the_page_says_whose_seconds_are_not_those_of_the_whole_training() -> None:
    said = ", resumed, so the seconds are those of the last sitting</td>"
    assert said in render(lab(run("base"), run(device="CPU", resumed=True)))
    assert said not in render(lab(run("base"), run(device="CPU")))


def test_a_difference_that_was_not_measured_says_so() -> None:
    nothing = {"difference": None, "low": None, "high": None, "verdict": "not measured"}
    results = compared()
    assert results.comparison is not None
    missing = tuple(d.model_copy(update=nothing) for d in results.comparison.differences)
    comparison = results.comparison.model_copy(update={"differences": missing})
    page = render(results.model_copy(update={"comparison": comparison}))
    assert page.count('<b>–</b><small class="not-measured">not measured</small>') == 3
    assert '<td class="num">–</td><td>not measured</td>' in page


def test_the_page_says_what_its_intervals_cover() -> None:
    assert "cover the 120 test pictures" in interval_note(compared())
    assert "and the seeds (Student" in interval_note(compared())
    assert "only: with one seed" in interval_note(compared(1))
    uneven = compared()
    uneven = uneven.model_copy(update={"runs": uneven.runs[:-2]})
    assert "for NCA-P, with one seed, pictures only" in interval_note(uneven)
    assert interval_note(uneven).replace("'", "&#39;") in render(uneven)
    assert "No intervals" in interval_note(lab(run()))


def test_the_page_says_how_many_settings_were_tried() -> None:
    tried = [run("sft", settings_tried=2), run("nca_priv", settings_tried=6)]
    page = render(lab(*tried, tuned_on="the validation split"))
    assert "were chosen from, on the validation split" in page
    assert "not tuned equally" in page
    equal = [each.model_copy(update={"settings_tried": 6}) for each in tried]
    assert "not tuned equally" not in render(lab(*equal))


def test_the_page_says_that_settings_were_never_tuned() -> None:
    page = render(lab(run("base"), run(), size="small"))
    assert "were not tuned at this size" in page
    assert "were chosen from" not in page
    assert "Settings tried" not in page
    assert "not tuned" not in render(lab(run(settings_tried=0)))
    assert "not tuned" not in render(lab(run("base")))  # the base has no such settings


def test_a_figure_that_one_seed_lacks_has_no_mean() -> None:
    assert rows([run(seed=0), run(seed=1, ics=None)])[0].cells[0].mean is None


def test_a_method_without_a_curve_keeps_its_row() -> None:
    page = render(lab(run("sft", curve=()), run("nca_priv")))
    assert re.findall(r'<th class="model" scope="row">(\S+?)<', page) == ["SFT", "NCA-P"]
    assert all(count(drawing, "mean") == 1 for drawing in drawings(page))
    assert "No method has a curve." in render(lab(run("sft", curve=())))


def test_rows_come_base_first_and_the_best_as_shown_is_bold() -> None:
    table = rows(
        [
            run("nca_priv", ics=97.04, seconds=30),
            run("dpo", ics=97.0, seconds=20),
            run("sft", ics=80.0, seconds=25),
            run("base", ics=1.0, seconds=1),
        ]
    )
    assert [row.arm for row in table] == ["base", "sft", "dpo", "nca_priv"]
    best = {row.arm: (row.cells[0].best, row.cells[-1].best) for row in table}
    # Values equal to one decimal count as equal; the base does not compete in time.
    assert best == {
        "base": (False, False),
        "sft": (False, False),
        "dpo": (True, True),
        "nca_priv": (True, False),
    }
    assert not any(row.cells[1].best for row in table)  # all HMS are equal


def test_the_page_says_who_judged_and_what_an_answer_is() -> None:
    page = render(lab(run()))
    assert "Judged by <code>rules</code>, an offline judge" in page
    assert "among the samples in which the user allows the answer (no scenario" in page
    assert "offline judge" not in render(lab(run(), judge="gpt-4o"))


def test_the_mean_is_over_the_steps_that_all_seeds_measured() -> None:
    first = [(0, 1.0), (10, 3.0), (20, 9.0)]
    assert curves.mean_curve([first, [(0, 3.0), (20, 1.0)]]) == [(0, 2.0), (20, 5.0)]
    assert curves.mean_curve([first, [(5, 1.0)]]) == []


@pytest.mark.parametrize("loss", [0.0, 3e-7, -4.2, 12345.0])
def test_every_point_lies_inside_the_axes(loss: float) -> None:
    curve = (Point(step=0, loss=loss), Point(step=7, loss=loss / 2, ics=100), Point(step=3, hms=0))
    figures = pytest.importorskip("matplotlib.figure")
    for panel in curves.panels([run(curve=curve)]):
        axes = figures.Figure().add_axes((0, 0, 1, 1))
        panel._plot(axes, Colors())
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        for step, value in panel.lines[0].mean:
            assert left <= step <= right
            assert low <= value <= high
        assert 2 <= sum(low <= tick <= high for tick in axes.get_yticks()) <= 8
        assert 1 <= sum(left <= tick <= right for tick in axes.get_xticks()) <= 8


@needs("matplotlib")
def test_an_axis_that_does_not_start_at_zero_says_so() -> None:
    by_name = {panel.measure: panel for panel in curves.panels([run()])}
    assert by_name["answers"].cut
    assert by_name["answers"].bounds == (90, 100)
    assert not by_name["ics"].cut
    assert "axis from 90" in render(lab(run()))


def test_a_page_without_matplotlib_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = render(lab(run("base"), run()))
    assert "<svg" not in page
    assert "The curves are missing: matplotlib is not installed" in page


def test_a_loss_that_is_not_finite_counts_as_not_measured() -> None:
    assert Point(step=1, loss=math.nan).loss is None


def _without(key: str) -> str:
    record = json.loads(lab(run()).to_json())
    del record["runs"][0][key]
    return json.dumps(record)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        (_without("method"), "runs.0.method"),
        (
            lab(run())
            .to_json()
            .replace('"ics":50.0', '"ics":500')
            .replace('"ics": 50.0', '"ics": 500'),
            "ics",
        ),
        (json.dumps({**json.loads(lab(run()).to_json()), "extra": 1}), "extra"),
        (
            json.dumps(
                {
                    **json.loads(lab(run()).to_json()),
                    "runs": 2 * json.loads(lab(run()).to_json())["runs"],
                }
            ),
            "duplicate entry",
        ),
    ],
)
def test_an_invalid_file_is_named_with_its_problem(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "lab.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem) as caught:
        LabResults.from_json(path)
    assert str(path) in str(caught.value)
    assert "spy-bench lab" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json: cannot be read"):
        LabResults.from_json(tmp_path / "absent.json")
