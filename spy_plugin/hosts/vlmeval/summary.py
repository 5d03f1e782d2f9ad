"""Adds the combined figures to the host's own Run Summary Report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def extend_summary() -> list[Path]:
    """Wrap the host's summary; must run before the host's run.py imports it.

    Returns:
        A list that receives the folder of each model's run as the host reports it.
    """
    import vlmeval.smp as host

    original = host.collect_run_benchmark_report
    run_dirs: list[Path] = []

    def collect(run_dir: str | Path) -> list[dict[str, Any]]:
        run_dirs.append(Path(run_dir))
        rows: list[dict[str, Any]] = original(run_dir)
        return rows

    host.collect_run_benchmark_report = collect
    return run_dirs
