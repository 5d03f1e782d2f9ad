"""Open a page that a command serves in the user's browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spy_plugin.report.browser import BrowserServer

CONSOLE_BROWSERS = ("www-browser", "w3m", "lynx", "links", "links2", "elinks", "browsh")


def show_page(server: BrowserServer) -> None:
    """Open the page in a graphical browser; say so where there is none.

    A browser of the terminal would take the terminal over until it is left, and shows nothing of a
    page that scripts build.
    """
    if not _open(server.first_address):
        print("No graphical browser was found here: open the address in yours.", flush=True)


def _open(address: str) -> bool:
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return False
    if Path(getattr(found, "name", "")).name in CONSOLE_BROWSERS:
        return False
    return found.open(address)
