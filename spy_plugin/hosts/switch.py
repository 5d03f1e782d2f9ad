"""One variable that keeps us out of every host: ``SPY_BENCH_PLUGIN=off``."""

from __future__ import annotations

import os

VARIABLE = "SPY_BENCH_PLUGIN"


def switched_off() -> bool:
    """Whether the user wants the hosts without us."""
    return os.environ.get(VARIABLE, "").lower() in ("off", "0", "no", "false")
