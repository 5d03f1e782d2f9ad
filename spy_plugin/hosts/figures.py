"""The figures that hosts show under names of their own, and their standard errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spy_plugin.scoring import metrics, stats
from spy_plugin.scoring.table import VerdictTable

FIGURES: Mapping[str, str] = {
    "privacy_score": stats.PRIVACY,
    "ics_no_scenario": metrics.ICS,
    "hms": metrics.HMS,
    "rta_non_conflict": metrics.RTA,
    "ata_non_conflict": metrics.ATA,
    "ata_conflict": metrics.ATA_CONFLICT,
    "ics_non_conflict": metrics.ICS_SCENARIO,
    "accuracy_no_scenario": metrics.ACCURACY,
    "absolute_accuracy": metrics.ABSOLUTE_ACCURACY,
    "absolute_ics": metrics.ABSOLUTE_ICS,
}
"""Metric of the hosts -> figure of the core."""

_ROUNDING = 1e-9


def standard_errors(table: VerdictTable) -> dict[str, float]:
    """Return metric -> standard error in percentage points, by resampling pictures.

    A metric with the same value in every resample (all right, all wrong, one picture) has none:
    zero would look certain.
    """
    draws = stats.resampled(table)
    spread = {
        name: float(np.nanstd(draws[figure], ddof=1))
        for name, figure in FIGURES.items()
        if np.count_nonzero(~np.isnan(draws[figure])) > 1
    }
    return {name: error for name, error in spread.items() if error > _ROUNDING}
