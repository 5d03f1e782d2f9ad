"""The page in a real browser: filters, addresses and keys."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome, Verdict
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.report import ReportOptions, browser
from spy_plugin.report.build import read_verdict_files
from tests.chromium import Open
from tests.report.browser.conftest import MODELS, WRONG, mini_verdicts, settled
from tests.report.made_up import expected_of, verdicts, write_run


def select(page: Any, name: str, value: str) -> None:
    page.locator(f"[name={name}]").select_option(value)


def wrong(v: Verdict) -> bool:
    return v.outcome in (Outcome.RESPOND, Outcome.REJECT) and v.outcome is not expected_of(v)


@pytest.fixture(scope="module")
def said() -> dict[str, list[Verdict]]:
    """The verdicts of the three models with distractors."""
    return {model: mini_verdicts(model, "distractors")[0] for model in MODELS}


def test_each_filter_leaves_the_samples_that_fit(
    open_page: Open, mini_address: str, said: dict[str, list[Verdict]]
) -> None:
    page, mine = open_page(mini_address), said["careful"]
    settled(page, len(mine))
    conflict = [v for v in mine if v.scenario and not v.scenario.is_privacy]
    scenario = next(v.scenario.id for v in mine if v.scenario)
    for name, value, expected in (
        ("label", "a49_phone", sum(v.label == "a49_phone" for v in mine)),
        ("scenario", scenario, sum(bool(v.scenario) and v.scenario.id == scenario for v in mine)),
        ("scenario", "none", sum(v.scenario is None for v in mine)),
        ("role", "conflict", len(conflict)),
        ("side", "public", sum(not v.is_privacy for v in mine)),
        ("expected", "reject", sum(expected_of(v) is Outcome.REJECT for v in mine)),
        ("outcome", "unjudged", sum(v.outcome is Outcome.UNJUDGED for v in mine)),
    ):
        assert 0 < expected < len(mine)
        select(page, name, value)
        settled(page, expected)
        assert f"{name}=" in page.url
        select(page, name, "")
        settled(page, len(mine))
    page.get_by_label("wrong only").check()
    settled(page, sum(map(wrong, mine)))
    assert page.locator("#rows .chip.bad").count() == min(100, sum(map(wrong, mine)))


def test_disclosures_are_shown_and_filtered(
    open_page: Open, mini_address: str, said: dict[str, list[Verdict]]
) -> None:
    page = open_page(mini_address)
    known = {sample.sample_id for sample in open_benchmark(MINI).samples() if sample.gt}
    told = [v for v in said["careful"] if v.sample_id in known and wrong(v)]
    told = [v for v in told if v.outcome is Outcome.RESPOND]
    elsewhere = [v for v in told if v.answer.endswith(f"{WRONG}.")]
    for value, expected in (
        ("discloses the value", len(told) - len(elsewhere)),
        ("wrong value", len(elsewhere)),
    ):
        select(page, "value", value)
        settled(page, expected)
        assert page.locator("#rows .chip.value").all_text_contents() == [value] * expected
    page.locator("#rows a").first.click()
    page.wait_for_selector("#detail .panel.current .answer pre")
    answer = page.locator("#detail .panel.current .answer")
    assert answer.locator(".chip.value").text_content() == "wrong value"
    assert answer.locator("pre").text_content().endswith(f"{WRONG}.")
    assert "value=wrong+value" in page.url
    page.get_by_role("button", name="Clear filters").click()
    settled(page, len(said["careful"]))
    # A value filter holds if any chosen model has told it; many models are counted.
    page.locator("#all-models").click()
    page.locator("input[name=c]").nth(1).check()
    select(page, "value", "discloses the value")
    page.wait_for_function("() => document.querySelectorAll('#rows .chips small').length > 0")
    counts = page.locator("#rows .chips").all_text_contents()
    assert any("wrong value" in text for text in counts)
    assert all(
        re.search(r"discloses the value: [1-6]( · wrong value: [1-5])?$", text) for text in counts
    )


def test_values_are_no_filter_where_none_is_known(open_page: Open, tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "a", verdicts(items=5))
    runs = read_verdict_files([tmp_path / "runs"], ReportOptions(), [])
    browser.write_browser(browser.browsed(runs), tmp_path / "pages")
    page = open_page((tmp_path / "pages" / "index.html").as_uri())
    assert not page.locator("[name=value]").is_visible()
    assert page.locator("[name=outcome]").is_visible()


def test_labels_are_in_the_words_of_the_report(open_page: Open, mini_address: str) -> None:
    page = open_page(f"{mini_address}#label=a29_ausweis&s=00000002%2Fprivate")
    page.wait_for_selector("#detail .answer pre")
    assert page.locator("#detail h2").text_content() == "identity card private"
    assert set(page.locator("#rows .title b").all_text_contents()) == {"identity card"}
    options = page.locator("[name=label] option").all_text_contents()
    assert "identity card" in options
    assert options[1:] == sorted(options[1:])
    assert not any("ausweis" in text for text in options)


def test_where_models_differ(
    open_page: Open, mini_address: str, said: dict[str, list[Verdict]]
) -> None:
    page = open_page(mini_address)
    for name in MODELS[1:]:
        page.get_by_label(name, exact=True).check()
    page.get_by_label("where they differ").check()
    triples = list(zip(*said.values(), strict=True))
    settled(page, sum(len({v.outcome for v in found}) > 1 for found in triples))
    page.get_by_label("wrong only").check()
    differ = [t for t in triples if len({v.outcome for v in t}) > 1]
    settled(page, sum(any(map(wrong, found)) for found in differ))
    select(page, "sort", "wrong")
    page.get_by_label("where they differ").uncheck()
    page.wait_for_timeout(100)
    shown = page.locator("#rows li").evaluate_all(
        "rows => rows.map((row) => row.querySelectorAll('.chip.bad').length)"
    )
    counts = sorted((sum(map(wrong, found)) for found in triples), reverse=True)
    assert shown == counts[:100]


def test_sorted_by_label(open_page: Open, mini_address: str) -> None:
    page = open_page(f"{mini_address}#sort=label")
    shown = page.locator("#rows .title b").all_text_contents()
    assert len(shown) == 100
    assert len(set(shown)) < 10
    groups = [label for label, _ in itertools.groupby(shown)]
    assert len(groups) == len(set(groups)) > 1


def test_a_search_finds_answers_judges_words_and_prompts(
    open_page: Open, mini_address: str, said: dict[str, list[Verdict]]
) -> None:
    page, mine = open_page(mini_address), said["careful"]
    text = next(v.answer for v in mine if "number plate" in v.answer)
    needle = text.rsplit(": ", 1)[1]
    page.keyboard.press("/")
    page.keyboard.type(needle.upper())
    settled(page, sum(needle in v.answer for v in mine))
    assert page.locator("#rows mark").first.text_content() == needle
    page.locator("#q").fill("reject")
    select(page, "within", "judge")
    settled(page, sum(v.outcome is Outcome.REJECT for v in mine))
    select(page, "within", "prompt")
    page.locator("#q").fill("Keep this confidential: identity card")
    page.wait_for_function("() => document.querySelectorAll('#rows mark').length > 5")
    page.locator("#q").fill("no such words anywhere")
    settled(page, 0)


@pytest.mark.parametrize("over", ["file", "server"])
def test_an_address_names_the_filters_and_the_sample(
    open_page: Open, mini_report: Path, mini_address: str, served: Any, over: str
) -> None:
    address = mini_address if over == "file" else served(mini_report / "samples").address
    page = open_page(address)
    for name in MODELS[1:]:
        page.get_by_label(name, exact=True).check()
    select(page, "side", "private")
    page.get_by_label("wrong only").check()
    page.locator("#rows a").nth(3).click()
    page.wait_for_selector("#detail .answer pre")
    count, title = page.locator("#count").text_content(), page.locator("#detail").text_content()
    assert "s=0000" in page.url
    again = open_page(page.url)
    again.wait_for_selector("#detail .answer pre")
    assert again.locator("#count").text_content() == count
    assert again.locator("#detail").text_content() == title
    assert again.locator("[name=side]").input_value() == "private"
    assert again.locator("#rows a[aria-current]").count() == 1
    base = address.removesuffix("index.html")
    assert again.seen.requests
    assert all(url.startswith(base) for url in again.seen.requests)


def test_a_sample_shows_what_was_asked_said_and_expected(
    open_page: Open, mini_address: str, said: dict[str, list[Verdict]]
) -> None:
    sample = "00000002/private"
    page = open_page(f"{mini_address}#m=careful&m=thinker&s={sample.replace('/', '%2F')}")
    page.wait_for_selector("#detail .answer pre")
    detail = page.locator("#detail")
    for model in ("careful", "thinker"):
        for side in ("private", "public"):
            v = next(v for v in said[model] if v.sample_id == f"00000002/distractors/{side}")
            assert v.answer in detail.text_content()
    assert detail.locator(".panel").count() == 2
    assert detail.locator(".panel.current .answer").count() == 2
    assert detail.locator("mark").text_content() == "Keep this confidential: identity card."
    picture = detail.locator("img")
    picture.evaluate("image => image.decode()")
    assert picture.evaluate("image => image.naturalWidth") > 100
    assert detail.locator(".policies .one").count() == 4
    assert "made-up judge: reject" in detail.text_content()
    thoughts = detail.locator("details.thoughts")
    assert thoughts.count() == 2
    assert "Who asks about" not in detail.text_content()
    thoughts.first.locator("summary").click()
    page.wait_for_selector("#detail details.thoughts pre")
    assert thoughts.first.locator("pre").text_content() == "Who asks about identity card?"
    # Side by side: the models in one panel, and with one model the pair.
    assert beside(*detail.locator(".panel.current .answer").all())
    page.get_by_label("thinker", exact=True).uncheck()
    page.wait_for_function("() => document.querySelectorAll('#detail .answer').length === 2")
    assert beside(*detail.locator(".panel").all())


def beside(left: Any, right: Any) -> bool:
    one, two = left.bounding_box(), right.bounding_box()
    return one["x"] + one["width"] <= two["x"] and abs(one["y"] - two["y"]) < 2


def test_conditions_are_compared_on_one_sample(open_page: Open, mini_address: str) -> None:
    page = open_page(mini_address)
    page.locator("input[name=c]").nth(1).check()
    page.locator("#rows a").first.click()
    page.wait_for_selector("#detail .answer pre")
    prompts = page.locator("#detail pre.prompt").all_text_contents()
    assert len(prompts) == 2
    assert prompts[0].endswith(prompts[1].splitlines()[-1])
    assert (
        page.locator("#detail .panel.current h4").all_text_contents()[0].startswith("distractors")
    )


def test_the_keys(open_page: Open, mini_address: str) -> None:
    page = open_page(mini_address)

    def current() -> str:
        return str(page.locator("#rows a[aria-current]").get_attribute("data-sample"))

    page.keyboard.press("j")
    assert current() == "0"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert current() == "1"
    page.keyboard.press("p")
    assert current() == "0"
    page.keyboard.press("]")
    assert page.locator("#page").text_content() == "page 2 of 9"
    page.keyboard.press("[")
    assert page.locator("#page").text_content() == "page 1 of 9"
    for _ in range(100):
        page.keyboard.press("j")
    assert page.locator("#page").text_content() == "page 2 of 9"
    assert current() == "100"
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.keyboard.press("/")
    page.keyboard.type("jk?")
    assert page.locator("#q").input_value() == "jk?"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('#rows a[aria-current]')")
    page.keyboard.press("w")
    assert page.get_by_label("wrong only").is_checked()
    page.keyboard.press("Control+d")
    assert not page.get_by_label("where they differ").is_checked()


def test_a_missing_chunk_is_said(open_page: Open, mini_report: Path, tmp_path: Path) -> None:
    shutil.copytree(mini_report / "samples", tmp_path / "samples")
    for path in (tmp_path / "samples" / "data").glob("answers-*"):
        path.write_text("")
    page = open_page((tmp_path / "samples" / "index.html").as_uri())
    page.locator("#rows a").first.click()
    page.wait_for_selector("#detail .error")
    assert "is missing or damaged" in page.locator("#detail .error").text_content()


def test_an_unknown_sample_is_said(open_page: Open, mini_address: str) -> None:
    page = open_page(f"{mini_address}#s=99999999%2Fprivate&page=7777&m=nobody")
    assert "No sample is named 99999999/private." in page.locator("#detail").text_content()
    assert page.locator("#page").text_content() == "page 9 of 9"


def test_pairs_of_two_benchmarks_with_the_same_numbers_are_found(
    open_page: Open, tmp_path: Path
) -> None:
    write_run(tmp_path / "a", "m", verdicts(items=5, images=5))
    write_run(tmp_path / "b", "m", verdicts(items=5, images=2), benchmark="other")
    runs = browser.browsed(read_verdict_files([tmp_path], ReportOptions(), []))
    browser.write_browser(runs, tmp_path / "out")
    page = open_page((tmp_path / "out" / "index.html").as_uri())
    missed = """Array.from({ length: spy.count }, (_, i) => i).filter((i) =>
        spy.find(spy.nameOf(i)) !== i || spy.siblings(i).length !== 5 ||
        (spy.about(i).role !== "conflict" && spy.partner(spy.partner(i)) !== i))"""
    assert page.evaluate("spy.count") == 25 + 15
    assert page.evaluate(missed) == []


def test_an_unknown_scenario_fits_no_sample(open_page: Open, mini_address: str) -> None:
    settled(open_page(f"{mini_address}#scenario=nowhere"), 0)


def test_a_full_set_is_filtered_without_a_stall(open_page: Open, tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "a", verdicts(items=6_540, images=2_000))
    runs = read_verdict_files([tmp_path / "runs"], ReportOptions(), [])
    browser.write_browser(browser.browsed(runs), tmp_path / "pages")
    page = open_page((tmp_path / "pages" / "index.html").as_uri())
    settled(page, 32_700)
    taken = page.evaluate(
        """async () => {
          const taken = [];
          const rows = document.getElementById("rows");
          const field = document.forms[0].elements.side;
          for (const value of ["private", "", "public", "", "private", "", "public", ""]) {
            const start = performance.now();
            const drawn = new Promise((done) =>
              new MutationObserver((_, watcher) => { watcher.disconnect(); done(); })
                .observe(rows, { childList: true }));
            field.value = value;
            field.dispatchEvent(new Event("input", { bubbles: true }));
            await drawn;
            taken.push(performance.now() - start);
          }
          return taken;
        }"""
    )
    assert min(taken) < 200, taken
    page.locator("#q").fill("Made-up answer 6539.")
    settled(page, 5)


def test_a_search_by_key_leaves_the_sample_on_a_narrow_screen(
    open_page: Open, mini_address: str
) -> None:
    page = open_page(mini_address, width=390)
    page.keyboard.press("j")
    page.wait_for_selector("#detail .answer pre")
    page.keyboard.press("/")
    page.keyboard.type("pjw")  # each of these is a key of its own
    assert page.locator("#q").input_value() == "pjw"
    assert not page.locator("[name=wrong]").is_checked()
