"""The page in a real browser: it renders, loads nothing, and model text stays text."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from spy_plugin.report import ReportOptions, build_report, combine
from spy_plugin.report.render import html as render_html
from spy_plugin.runs.metadata import JudgeInfo
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
    assert dom.count("<script") == 0
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
