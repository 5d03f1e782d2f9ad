"""The folder of what this package keeps for its user: built pictures, downloads, caches."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """``$SPY_BENCH_HOME`` if set, else ``spy-bench`` in the XDG cache folder; it may not exist yet.

    The XDG cache folder is ``$XDG_CACHE_HOME`` if that is an absolute path, else ``~/.cache``
    (XDG Base Directory Specification 0.8).
    """
    own = os.environ.get("SPY_BENCH_HOME", "")
    if own:
        return Path(own).expanduser().absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "spy-bench"
