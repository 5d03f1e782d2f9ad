"""The output formats: long CSV, Markdown, and what the page must show and hide."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.report import FILES, PLOTS, ReportOptions, build_report, combine
from spy_plugin.report.model import Condition, Figure, Report
from spy_plugin.report.render import csv as render_csv
from spy_plugin.report.render import html as render_html
from spy_plugin.report.render import plot_files, plots, svg, tables
from spy_plugin.report.render.groups import Anchors, groups, heat_map, plotted
from spy_plugin.report.render.markdown import escape, render
from spy_plugin.report.sentences import handled
from spy_plugin.report.summary import remarks
from spy_plugin.runs.metadata import JudgeInfo
from spy_plugin.scoring.rounding import rounded
from spy_plugin.scoring.stats import LEAKAGE, OVER_REFUSAL
from tests.conftest import needs
from tests.report.made_up import (
    verdicts,
    write_lmms_general,
    write_run,
    write_vlmeval_general,
    write_vlmeval_items,
)

QUICK = ReportOptions(resamples=100)
KNOWN = "right on 85.9% [80.4, 90.1] of 199 examples (blind), kappa 0.72"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Two models with all scores (one judged by a model), one without general scores."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "a", "model-a", verdicts(items=70))
    write_vlmeval_items(root / "a", "model-a")
    write_run(root / "b", "model-b", verdicts(items=70, seed=1))
    write_vlmeval_general(root / "b", "model-b", judge="gpt-4o-mini")
    write_run(root / "c", "model-c", verdicts(items=70, seed=2), samples=900)
    return build_report([root], QUICK)


def test_csv_has_a_line_for_each_figure(report: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(render_csv.render(report))))
    keys = [(x["row"], x["scope"], x["name"], x["metric"]) for x in lines]
    assert len(keys) == len(set(keys))
    for row in report.rows:
        mine = [x for x in lines if x["row"] == row.id]
        figures = {x["metric"]: x for x in mine if x["scope"] == "all"}
        assert set(figures) == set(row.figures) | set(row.general)
        for name, figure in {**row.figures, **row.general}.items():
            assert figures[name]["score"] == ("" if figure.score is None else repr(figure.score))
        assert {x["name"] for x in mine if x["scope"] == "label"} == set(row.labels)


def test_csv_survives_names_that_it_cannot_hold(report: Report) -> None:
    hostile = report.rows[0].model_copy(update={"model": 'a\0b, "c"\r\n=1+1'})
    text = render_csv.render(report.model_copy(update={"rows": [hostile]}))
    names = {line["model"] for line in csv.DictReader(io.StringIO(text, newline=""))}
    assert names == {'a\N{REPLACEMENT CHARACTER}b, "c"\r\n=1+1'}


def test_markdown_shows_scores_intervals_marks_and_what_was_not_run(report: Report) -> None:
    text = render(report)
    summary = text.split("\n## ")[0]
    lines = {line.split(" |")[0]: line for line in summary.splitlines()}
    row = next(r for r in report.rows if r.model == "model-a")
    privacy = row.figures["privacy score"]
    expected = f"{rounded(privacy.score)} [{rounded(privacy.low)}, {rounded(privacy.high)}]"
    assert expected in lines["| model-a"]
    assert "‡" not in lines["| model-a"]
    assert "50.00‡" in lines["| model-b"]
    assert "†‡" in lines["| model-b"]
    assert lines["| model-c"].count("not run") == 5
    assert "Partial: 350 of 900 samples" in text
    assert "MMMU: judged by gpt-4o-mini" in text


@needs("matplotlib")
def test_without_any_general_benchmark_one_line_stands_for_its_columns(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "m", verdicts(items=20))
    alone = build_report([tmp_path], QUICK)
    text, page = render(alone).split("\n## ")[0], render_html.render(alone)
    assert "| Model | Condition | Privacy | ICS | HMS | RtA | ATA |" in text
    for shown in (text, page):
        assert "not run" not in shown.replace("was not run", "")
        assert shown.count("No general benchmark ran") == 1
        assert "OCRBench |" not in shown
    assert "MME/28</th>" not in page
    assert page.count("<figure") == page.count("<svg") == 1


def test_markdown_keeps_names_as_text() -> None:
    assert escape("<b>a</b>|x [l](javascript:1)\n# h") == (
        "&lt;b&gt;a&lt;/b&gt;\\|x \\[l\\](javascript:1) # h"
    )


@needs("matplotlib")
def test_page_has_plots_headline_heatmap_and_provenance(report: Report) -> None:
    page = render_html.render(report)
    assert page.count("<svg") == 2
    for text in ("not run", "gpt-4o-mini", "spy-oracle", "address home partial", "0123456789ab"):
        assert text in page
    assert 'class="faint"' in page
    assert "absolute</b>: refusing is right, whatever the user says" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert page.count("<script") == 1


def test_page_without_matplotlib_says_what_is_missing(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = render_html.render(report)
    assert "<svg" not in page
    assert "pip install &#39;spy-bench[report]&#39;" in page
    assert "model-a" in page


def test_offline_judge_is_named_above_the_table(report: Report) -> None:
    page = render_html.render(report)
    assert 0 < page.index("Judged offline by rules") < page.index("<table")
    assert page.count("Judged offline by rules") == 1


def test_page_runs_no_script_but_its_own(report: Report) -> None:
    page = render_html.render(report)
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.split('Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert "innerHTML" not in script
    assert "eval" not in script


def test_labels_come_by_damage_with_the_number_of_samples(report: Report) -> None:
    (group,) = groups(report.rows)
    found = heat_map(group)
    assert found is not None
    assert [row.model for row in found.models] == [row.model for row in group.models]
    damage = [sum(cell.wrong for cell in cells if cell) for cells in found.rows.values()]
    assert damage == sorted(damage, reverse=True)
    for row in group.models:
        counted = sum(h.n for h in handled(row.labels))
        assert row.counts is not None
        assert counted == row.counts.outcomes["respond"] + row.counts.outcomes["reject"]
        leaked = row.figures["leakage"].hits or 0
        refused = row.figures["over-refusal"].hits or 0
        assert sum(h.wrong for h in handled(row.labels)) == leaked + refused


def test_anchors_are_plain_and_unique() -> None:
    anchors = Anchors()
    assert anchors.new("label", 'a"><script>') == "label-a-script"
    assert anchors.new("label", "a <script>") == "label-a-script-2"


def test_tables_to_paste_hold_every_row_and_no_command(report: Report) -> None:
    hostile = r"a_b & 50% $x$ \input{/etc/passwd} | <b> #"
    rows = [report.rows[0].model_copy(update={"model": hostile}), *report.rows[1:]]
    changed = report.model_copy(update={"rows": rows})
    latex, markdown = tables.render_latex(changed), tables.render_markdown(changed)
    assert r"a\_b \& 50\% \$x\$ \textbackslash{}input\{/etc/passwd\} | \textless{}b" in latex
    assert latex.count(r" \\") == len(rows) + 2
    assert r"\| &lt;b&gt; #" in markdown
    assert len(markdown.splitlines()) == len(rows) + 3
    score = rounded(rows[0].figures["privacy score"].score, 1)
    assert f" {score} " in latex.split("textless")[1].splitlines()[0]


@needs("matplotlib")
def test_plots_are_files_that_stand_alone(report: Report) -> None:
    files = plot_files.render(report)
    assert set(files) == set(PLOTS)
    for name, content in files.items():
        text = content.decode("latin-1")
        assert text.startswith("<?xml" if name.endswith(".svg") else "\x89PNG")
        assert "var(--" not in text
    assert b"model-a" in files["plot-errors.svg"]


@needs("matplotlib")
def test_conditions_have_shapes_and_many_models_have_numbers_with_a_key(report: Report) -> None:
    one = report.rows[0]
    many = [
        one.model_copy(
            update={"id": f"m{i}-{v}", "model": f"m{i}", "condition": Condition(variant=v)}
        )
        for i in range(8)
        for v in ("distractors", "no_distractors")
    ]
    page = render_html.render(report.model_copy(update={"rows": many}))
    key = page.split('<ol class="key">')[1].split("</ol>")[0]
    assert key.count("<li>") == 16
    assert [key.count(shape) for shape in "●■"] == [8, 8]
    found = groups(many)
    points = plots.points(*plotted(found), plots.ERRORS)
    assert [point.text for point in points] == [str(n) for n in range(1, 17)]
    assert {point.series for point in points} == {0, 1}
    few = plots.points(*plotted(groups(many[:4])), plots.ERRORS)
    assert [point.text for point in few] == ["m0", "m1", "m0", "m1"]


@needs("matplotlib")
def test_a_long_name_in_the_middle_of_a_plot_stays_within_it(report: Report) -> None:
    one = report.rows[0]
    figures = one.figures | {OVER_REFUSAL: Figure(score=50), LEAKAGE: Figure(score=50)}
    row = one.model_copy(update={"model": "n" * 40, "figures": figures})
    points = plots.points([row], [0], plots.ERRORS)
    drawn = plots.draw_on_page(plots.ERRORS, points)
    name = f"{'n' * 31}…"
    width = float(drawn.split('viewBox="0 0 ')[1].split()[0])
    (text,) = (line for line in drawn.splitlines() if name in line)
    # The name is 32 letters of 5.3 points long, as drawn to the right of where it starts.
    start = float(text.split(' x="')[1].split('"')[0])
    assert width == pytest.approx(4.3 * 72)
    assert 0 < start < start + 32 * 5.3 < width


@pytest.mark.parametrize(
    ("offline", "expected"),
    [
        (True, f"Judged offline by j ({KNOWN}): a quick"),
        (False, f"Its judge, j, is {KNOWN}."),
    ],
)
def test_what_is_known_of_a_judge_is_said(report: Report, offline: bool, expected: str) -> None:
    calibration = {"judge": "j", "accuracy": 0.8593, "kappa": 0.7169, "n": 199}
    calibration |= {"low": 0.8042, "high": 0.9008, "examples": "blind"}
    row = next(row for row in report.rows if row.condition.judge and not row.yardstick)
    judge = JudgeInfo(name="j", offline=offline, calibration=calibration)
    about = row.condition.model_copy(update={"judge": judge})
    found = remarks(row.model_copy(update={"condition": about}))
    assert any(text.startswith(expected) for text in found)


def test_page_of_general_scores_alone_is_written(tmp_path: Path) -> None:
    write_lmms_general(tmp_path / "m", "m")
    combine([tmp_path / "m"], tmp_path / "out", QUICK)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "General scores only" in page
    assert "not run" in page


def run_command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `spy-bench` in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "spy_plugin.cli", *words], capture_output=True, text=True
    )


def test_command_writes_all_files_and_repeats_notes(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "m", verdicts(items=10))
    write_run(tmp_path / "b", "m", verdicts(items=10), judge=JudgeInfo(name="x"))
    done = run_command(
        "report",
        *(str(tmp_path / name) for name in "ab"),
        "--out",
        str(tmp_path / "out"),
        "--name",
        f"{tmp_path / 'b'}=other",
        "--resamples",
        "50",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out" / "samples" / "index.html")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written - set(PLOTS) == {*FILES, "samples"}
    assert ("plot-errors.png" in written) is bool(find_spec("matplotlib"))
    assert "plot-general.png" not in written
    models = Report.model_validate_json((tmp_path / "out" / "report.json").read_text()).rows
    assert {row.model for row in models if not row.computed} == {"m", "other"}


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_what_holds_answers_is_private_until_the_user_shares_it(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "m", verdicts(items=10))
    out, answer = tmp_path / "out", "Made-up answer"
    before = os.umask(0o022)
    try:
        combine([tmp_path / "runs"], out, QUICK)
        texts = [path for path in out.iterdir() if path.suffix not in ("", ".png")]
        with_answers = {path.name for path in texts if answer in path.read_text()}
        assert with_answers == {"report.html", "report.json"}
        private = {path.name for path in out.iterdir() if path.stat().st_mode & 0o077 == 0}
        assert private == with_answers | {"samples"}
        (out / "report.html").chmod(0o644)
        combine([tmp_path / "runs"], out, QUICK)
    finally:
        os.umask(before)
    modes = {name: (out / name).stat().st_mode & 0o777 for name in ("report.html", "report.json")}
    assert modes == {"report.html": 0o644, "report.json": 0o600}


def test_command_on_a_folder_without_results_says_what_it_looked_for(tmp_path: Path) -> None:
    done = run_command("report", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "*_spy.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--name", "nothing"], 2), (["--name", "x=y"], 1), (["--resamples", "0"], 2)],
)
def test_command_refuses_wrong_options(tmp_path: Path, words: list[str], code: int) -> None:
    write_run(tmp_path, "m", verdicts(items=5))
    done = run_command("report", str(tmp_path), "--out", str(tmp_path / "out"), *words)
    assert done.returncode == code
    assert ": error: " in done.stderr


@pytest.mark.parametrize("name", ['=HYPERLINK("x")', "+1", "-2", "@a", "\tx", "\rx"])
def test_no_name_is_a_formula_in_a_spreadsheet(name: str) -> None:
    assert render_csv._harmless(name) == f"'{name}"
    assert render_csv._harmless("a=1") == "a=1"


def test_a_name_that_the_fonts_lack_warns_nobody_and_changes_no_filter() -> None:
    pytest.importorskip("matplotlib")

    def plot(axes: Any, _: Any) -> None:
        axes.set_title("\u0b95\u4e2d")

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        svg.draw_files(
            plot,
            name="name",
            size=(3, 2),
            box=(0.1, 0.1, 0.8, 0.7),
        )
        assert warnings.filters == before
    assert [str(each.message) for each in seen] == []
