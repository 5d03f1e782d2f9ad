"""SPYBench_MINI, the embedded benchmark: our own pictures and questions, drawn at first use.

It has the layout of the official release's data and needs no download. Everything in the pictures
is fictional.
"""

from __future__ import annotations

from spy_plugin.embedded.mini.cache import (
    DATA_VERSION,
    FINGERPRINT,
    build,
    contact_sheet,
    fingerprint,
    verify,
)

__all__ = ["DATA_VERSION", "FINGERPRINT", "build", "contact_sheet", "fingerprint", "verify"]
