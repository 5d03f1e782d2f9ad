"""The sample browser: a folder of pages on which every sample of a report can be looked at.

`index.html` loads a compact index of all outcomes first, and texts in chunks when they are shown or
searched. All data are scripts, so that the folder works from `file://` and from any static server;
nothing else is loaded, and every text is set as text. It may import what `report` may import.
"""

from __future__ import annotations

from spy_plugin.report.browser.columns import BrowsedRun
from spy_plugin.report.browser.serve import BrowserServer
from spy_plugin.report.browser.write import PAGE, Written, browsed, refuse_foreign, write_browser

__all__ = [
    "FOLDER",
    "PAGE",
    "BrowsedRun",
    "BrowserServer",
    "Written",
    "browsed",
    "refuse_foreign",
    "write_browser",
]

FOLDER = "samples"
"""Name of the folder in a report."""
