"""Hostile text in a real browser: it is shown as text, and a second wall stands behind that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.records import Scenario, dump_jsonl
from spy_plugin.files.jsonl import dump_rows
from spy_plugin.report import ReportOptions, browser
from spy_plugin.report.build import read_verdict_files
from spy_plugin.runs.answer_file import StoredAnswer
from spy_plugin.runs.metadata import JudgeInfo
from tests.chromium import Open
from tests.report.browser.conftest import settled
from tests.report.browser.test_answers import official_row
from tests.report.hostile import BAIT, HOSTILE
from tests.report.made_up import verdicts, write_run


@pytest.fixture(scope="module")
def hostile_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages on which every text is hostile: a run of ours, and one of the official scripts."""
    root = tmp_path_factory.mktemp("hostile")
    found = [
        replace(
            v,
            sample_id=f"{text} {k}",
            benchmark_id=f"{k:02} {text}",
            label=text,
            scenario=v.scenario and Scenario(f"{text} role", v.scenario.is_privacy),
            image_path=text,
            answer=text,
            raw=text * 5,
            error=text,
        )
        for k, text in enumerate(HOSTILE)
        for v in verdicts(items=1, missing=0)[2:3]
    ]
    bad = JudgeInfo(name=HOSTILE[1], fingerprint="f" * 12)
    write_run(root / "ours", "m", found, judge=bad, benchmark=HOSTILE[0], answers="m_answers.jsonl")
    said = [StoredAnswer(v.sample_id, v.answer, thoughts=v.answer) for v in found]
    (root / "ours" / "m_answers.jsonl").write_text(dump_jsonl(said), encoding="utf-8")
    rows = [
        official_row(k, input_question=f"{text}\n\n{text}", response=text, ref_answer=text)
        for k, text in enumerate(HOSTILE)
    ]
    (root / "evil__judge.jsonl").write_text(dump_rows(rows), encoding="utf-8")
    names = {root / "ours": HOSTILE[3]}
    options = ReportOptions(names=names)
    runs = read_verdict_files([root / "ours", root / "evil__judge.jsonl"], options, [])
    browser.write_browser(browser.browsed(runs), root / "pages")
    return root / "pages"


OPEN_FOLDS = "() => document.querySelectorAll('#detail details').forEach((f) => (f.open = true))"


@pytest.mark.parametrize("over", ["file", "server"])
def test_hostile_text_stays_text(
    open_page: Open, hostile_pages: Path, served: Any, over: str
) -> None:
    server = served(hostile_pages)
    address = (hostile_pages / "index.html").as_uri() if over == "file" else server.address
    page = open_page(address)
    for box in page.locator("input[name=c], input[name=m]").all():
        box.check()
    settled(page, 2 * len(HOSTILE))
    shown: set[str] = set()
    for _ in range(2 * len(HOSTILE)):
        page.keyboard.press("j")
        page.wait_for_selector("#detail .answer pre")
        page.evaluate(OPEN_FOLDS)
        page.wait_for_function(
            "() => [...document.querySelectorAll('#detail details')].every((f) => f.children[1])"
        )
        shown |= set(page.locator("#detail pre").all_text_contents())
    for text in HOSTILE:
        assert text in shown
        assert text * 5 in shown or len(text * 5) <= 60
    page.locator("#q").fill(HOSTILE[0])
    page.wait_for_function("() => document.querySelector('#rows mark')")
    assert page.title() == "SPY-Bench samples"
    own = {"data.js", "state.js", "filters.js", "list.js", "detail.js", "main.js"}
    scripts = page.locator("script").evaluate_all("all => all.map((each) => each.src)")
    assert {src.rsplit("/", 1)[1] for src in scripts} == own
    markup = (
        "iframe, base, meta[http-equiv=refresh], main link, main style, main svg, main form form"
    )
    assert page.locator(markup).count() == 0
    base = address.removesuffix("index.html")
    assert all(url.startswith(base) for url in page.seen.requests)
    assert not any(BAIT in url for url in page.seen.requests)


def test_the_policy_stops_what_the_page_would_never_do(chromium: Any, mini_address: str) -> None:
    """The second wall: with text set as markup, or a foreign script, nothing happens."""
    page = chromium.new_page()
    page.goto(mini_address)
    page.wait_for_selector("body.ready")
    stopped: list[tuple[str, str]] = []
    passed: list[str] = []
    page.on("requestfailed", lambda request: stopped.append((request.url, request.failure)))
    page.on("requestfinished", lambda request: passed.append(request.url))
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate("() => { document.body.innerHTML = '<b>x</b>'; }")
    with pytest.raises(Exception, match="TrustedScriptURL"):
        page.evaluate("() => { document.createElement('script').src = 'data/index.js'; }")
    directives = page.evaluate(
        """async (bait) => {
          const found = [];
          const note = (event) => found.push(event.effectiveDirective);
          document.addEventListener("securitypolicyviolation", note);
          const image = new Image();
          image.src = `${bait}/x.png`;
          document.body.append(image);
          await fetch(bait).catch(() => 0);
          await new Promise((done) => setTimeout(done, 200));
          return found;
        }""",
        BAIT,
    )
    assert sorted(directives) == ["connect-src", "img-src"]
    assert stopped == [(f"{BAIT}/x.png", "csp")]
    assert passed == []
    page.context.close()
