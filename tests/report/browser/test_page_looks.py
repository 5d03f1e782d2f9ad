"""The page in a real browser: on a phone, in the dark, and without a mouse."""

from __future__ import annotations

from tests.chromium import Open


def test_a_phone_shows_one_thing_at_a_time_and_never_scrolls_sideways(
    open_page: Open, mini_address: str
) -> None:
    page = open_page(mini_address, width=390)
    wide = "() => document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(wide)
    assert not page.locator("#form").is_visible()
    page.locator("#filters summary").click()
    page.get_by_role("button", name="all", exact=True).click()
    for box in page.locator("input[name=c]").all():
        box.check()
    assert not page.evaluate(wide)
    page.locator("#filters summary").click()
    page.locator("#rows a").nth(3).click()
    page.wait_for_selector("#detail .answer pre")
    assert not page.locator("#list").is_visible()
    assert page.locator("#detail .answer").count() >= 6
    assert not page.evaluate(wide)
    page.go_back()
    page.wait_for_selector("#list", state="visible")
    assert not page.locator("#detail").is_visible()


def test_the_dark_is_dark_and_both_have_contrast(open_page: Open, mini_address: str) -> None:
    lights = []
    for dark in (False, True):
        page = open_page(mini_address, dark=dark)
        colors = page.evaluate(
            "() => [getComputedStyle(document.body).backgroundColor,"
            " ...['body', '.where', '.chip.good', '.chip.bad', '#count'].map((each) =>"
            " getComputedStyle(document.querySelector(each)).color)]"
        )
        paper, *inks = (luminance(color) for color in colors)
        lights.append(paper)
        assert all((max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) > 4.5 for ink in inks)
    assert lights[0] > 0.8 > 0.1 > lights[1]


def luminance(color: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)`, as WCAG defines it."""
    parts = [int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_control_has_a_name(open_page: Open, mini_address: str) -> None:
    page = open_page(mini_address)
    unnamed = page.evaluate(
        "() => [...document.querySelectorAll('input, select, button, a')].filter((each) =>"
        " !(each.labels?.length || each.textContent.trim() || each.ariaLabel))"
        ".map((each) => each.outerHTML)"
    )
    assert unnamed == []
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.locator("#rows a").first.focus()
    style = "() => getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(style) == "solid"
