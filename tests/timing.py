"""How long something may take on a machine that does other work, too."""

from __future__ import annotations

import os


def allowed(seconds: float) -> float:
    """Seconds for what takes at most `seconds` of a machine whose cores are free.

    With more processes that want to run than cores, each gets a part of one.
    """
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
