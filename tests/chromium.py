"""A real browser that tests can look at."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

CHROMIUM = next((p for n in ("chromium", "chromium-browser") if (p := shutil.which(n))), "")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start Chromium once; skip where Playwright or Chromium is missing."""
    if not CHROMIUM:
        pytest.skip("no Chromium on PATH")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Seen:
    """What a page did besides being drawn."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


Open = Callable[..., Any]


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Return a function that opens an address and waits until the samples are there.

    The page's `seen` is what it did; every complaint of the browser fails the test at its end.
    """
    contexts: list[Any] = []
    everything: list[Seen] = []

    def open_it(address: str, *, width: int = 1280, dark: bool = False) -> Any:
        size = {"width": width, "height": 844}
        scheme = "dark" if dark else "light"
        contexts.append(chromium.new_context(viewport=size, color_scheme=scheme))
        page, seen = contexts[-1].new_page(), Seen()
        everything.append(seen)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda message: seen.complaints.append(message.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))

        def note(dialog: Any) -> None:
            seen.dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", note)
        page.goto(address)
        page.wait_for_selector("body.ready")
        page.seen = seen
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not [text for seen in everything for text in seen.complaints + seen.dialogs]
