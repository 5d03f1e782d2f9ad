"""The options of intervals by resampling, shared by `score` and `report`."""

from __future__ import annotations

import argparse

from spy_plugin.cli.option_types import non_negative_int, positive_int

RESAMPLES = 2000
"""As `scoring.stats.RESAMPLES`, without importing numpy (a test compares)."""


def add_resampling_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--resamples` and `--seed`."""
    parser.add_argument(
        "--resamples",
        type=positive_int,
        default=RESAMPLES,
        metavar="B",
        help=f"number of resamples for the intervals (default: {RESAMPLES})",
    )
    parser.add_argument(
        "--seed",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="seed of all draws (default: 0)",
    )
