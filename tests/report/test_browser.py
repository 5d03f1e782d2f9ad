"""The page in a real browser: it renders, loads nothing, and model text stays text."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.report import ReportOptions, build_report, combine
from spy_plugin.report.render import html as render_html
from spy_plugin.runs.metadata import JudgeInfo
from tests.conftest import needs
from tests.report.made_up import verdicts, write_run, write_vlmeval_items

_NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in _NAMES if (path := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium on PATH")

HOSTILE = (
    "</pre></style></script><script>document.title='taken'</script>"
    "<img src=x onerror=\"document.title='taken'\"><a href='javascript:document.title=1'>x</a>"
    "{{ 7 * 7 }} $\\frac{1}{2}$ <link rel=stylesheet href=https://example.invalid/x.css>\x00"
)
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=2000",
)


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open the page in a headless browser, whose log is in stderr."""
    return subprocess.run(
        [BROWSER, *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of a model whose name, answers and judge are hostile text."""
    root = tmp_path_factory.mktemp("browser")
    hostile = [replace(v, answer=HOSTILE, raw=HOSTILE, error=HOSTILE) for v in verdicts(items=70)]
    write_run(root / "a", "honest", verdicts(items=70, seed=3))
    write_vlmeval_items(root / "a", "honest")
    judge = JudgeInfo(name="<script>document.title='taken'</script>")
    write_run(root / "b", "m", hostile, judge=judge, remark=HOSTILE)
    options = ReportOptions(names={root / "b": HOSTILE}, resamples=100)
    combine([root / "a", root / "b"], root / "out", options)
    return root / "out" / "report.html"


def test_page_is_drawn_without_errors_or_requests(page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    log = tmp_path / "net.json"
    done = browse(
        page,
        tmp_path / "profile",
        f"--screenshot={picture}",
        "--window-size=1300,2600",
        f"--log-net-log={log}",
    )
    assert picture.stat().st_size > 50_000, done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr
    assert "example.invalid" not in log.read_text()
    from PIL import Image

    with Image.open(picture) as image:
        assert image.size == (1300, 2600)
        colors = image.convert("RGB").getcolors(maxcolors=1 << 24)
    assert colors is not None
    assert len(colors) > 100


def test_hostile_text_stays_text(page: Path, tmp_path: Path) -> None:
    done = browse(page, tmp_path / "profile", "--dump-dom")
    dom = done.stdout
    assert "<title>SPY-Bench report</title>" in dom
    assert dom.count("<script") == 1
    assert "<img" not in dom
    assert "javascript:" not in dom.replace("href='javascript:", "")
    assert "&lt;script&gt;document.title='taken'&lt;/script&gt;" in dom
    assert "{{ 7 * 7 }}" in dom
    assert "</html>" in dom


def test_dark_and_print_are_styled(page: Path, tmp_path: Path) -> None:
    printed = tmp_path / "page.pdf"
    browse(page, tmp_path / "profile", f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    assert printed.read_bytes().startswith(b"%PDF")
    # Closed details are also printed, so the labels take several pages.
    assert printed.read_bytes().count(b"/Type /Page\n") >= 4
    assert "prefers-color-scheme: dark" in page.read_text()


def test_a_page_with_pictures_shows_them(tmp_path: Path) -> None:
    from spy_plugin.benchmark.records import Outcome, verdict_of
    from spy_plugin.benchmarks import open_benchmark

    samples = list(open_benchmark("mini").samples())
    write_run(tmp_path, "m", [verdict_of(s, Outcome.RESPOND) for s in samples], benchmark="mini")
    report = build_report([tmp_path], ReportOptions(resamples=50, pictures=True))
    page = tmp_path / "report.html"
    page.write_text(render_html.render(report))
    done = browse(page, tmp_path / "profile", "--dump-dom")
    assert done.stdout.count('<img alt="the picture that was asked about"') >= 4
    assert "CONSOLE" not in done.stderr


def inside(page: Path, folder: Path, script: str, *, width: int) -> dict[str, Any]:
    """Run a script of the test on the page in a frame of some width, and return what it found.

    The frame's policy is the page's own, so the page's script runs or not as it would for a reader.
    """
    frame = f'<iframe id="frame" style="width:{width}px;height:900px" srcdoc="{{}}"></iframe>'
    outer = folder / "outer.html"
    outer.write_text(
        "<!doctype html><body>"
        + frame.format(html.escape(page.read_text()))
        + "<script>document.getElementById('frame').onload = (event) => {"
        "const frame = event.target; const doc = frame.contentDocument;"
        f"document.title = JSON.stringify(((doc, frame) => {{{script}}})(doc, frame)); }};</script>"
    )
    done = browse(outer, folder / "profile", "--dump-dom", "--window-size=1400,1000")
    found: dict[str, Any] = json.loads(
        html.unescape(done.stdout.split("<title>")[1].split("</")[0])
    )
    return found


def test_tables_sort_by_click_within_their_condition(page: Path, tmp_path: Path) -> None:
    found = inside(
        page,
        tmp_path,
        """
        const table = doc.querySelector("table.map");
        const heads = [...table.tHead.rows[0].cells];
        const column = (i) => [...table.tBodies[0].rows].map((row) => row.cells[i].dataset.v);
        const before = column(1);
        heads[1].querySelector("button").click();
        const down = column(1), arrow = heads[1].getAttribute("aria-sort");
        heads[1].querySelector("button").click();
        const up = column(1);
        heads[0].querySelector("button").click();
        const names = column(0);
        const summary = doc.querySelector("table.summary");
        summary.tHead.querySelectorAll("button")[1].click();
        const first = [...summary.tBodies].map((b) => b.rows[0].classList.contains("fixed"));
        return {before, down, up, names, arrow, first};
        """,
        width=1300,
    )
    down, up = ([float(v) for v in found[name] if v] for name in ("down", "up"))
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert len(up) > 30
    assert sorted(found["before"]) == sorted(found["up"])
    assert found["names"] == sorted(found["names"])
    assert found["arrow"] == "descending"
    assert all(found["first"])


def test_a_phone_shows_the_scores_without_sideways_scrolling(page: Path, tmp_path: Path) -> None:
    script = """
        doc.querySelectorAll("details").forEach((d) => { d.open = true; });
        const cell = doc.querySelector("td.lead-score").getBoundingClientRect();
        return {page: doc.documentElement.scrollWidth, right: cell.right,
                inner: frame.contentWindow.innerWidth};
        """
    found = inside(page, tmp_path, script, width=390)
    assert found["inner"] == 390
    assert found["page"] <= 390
    assert found["right"] <= 390


@needs("matplotlib")
@pytest.mark.parametrize(("width", "most"), [(1280, 640), (390, 390)])
def test_plots_have_a_size_at_which_names_can_be_read(
    page: Path, tmp_path: Path, width: int, most: int
) -> None:
    script = """
        const size = (one) => one.getBoundingClientRect();
        const names = [...doc.querySelectorAll(".plots svg text")].filter(
          (one) => one.textContent.startsWith("spy-"));
        return {widths: [...doc.querySelectorAll(".plots svg")].map((one) => size(one).width),
                heights: names.map((one) => size(one).height)};
        """
    found = inside(page, tmp_path, script, width=width)
    assert found["widths"]
    assert all(most / 2 < each <= most for each in found["widths"])
    assert len(found["heights"]) >= 4
    # The box of a line of text is higher than its size.
    assert all(8.5 * 1.1 < each < 20 for each in found["heights"])


def test_links_to_models_labels_and_examples_lead_somewhere(page: Path, tmp_path: Path) -> None:
    found = inside(
        page,
        tmp_path,
        """
        const ids = new Set([...doc.querySelectorAll("[id]")].map((e) => e.id));
        const links = [...doc.querySelectorAll("a[href]")].map((a) => a.getAttribute("href"));
        return {links: links.length, lost: links.filter((l) => !ids.has(l.slice(1))),
                ids: ids.size, all: doc.querySelectorAll("[id]").length,
                kinds: ["model-", "label-", "-sample-", "-label-"].map(
                    (k) => [...ids].some((id) => id.includes(k)))};
        """,
        width=1300,
    )
    assert found["links"] > 50
    assert found["lost"] == ["samples/index.html"]  # another page
    assert found["ids"] == found["all"]
    assert all(found["kinds"])
