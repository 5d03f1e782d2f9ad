"""`spy-bench power`: how many pictures are enough."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from spy_plugin.cli.option_types import non_negative_float, non_negative_int, positive_int
from spy_plugin.errors import SpyBenchError

if TYPE_CHECKING:
    from spy_plugin.scoring.power import Assumptions

PICTURES = (30, 60, 100, 200, 500, 1000)
MOST_PICTURES = 100_000
MOST_ITEMS = 50

_ALIKE = 0.7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.epilog = "Simulated; docs/figures.md says what is assumed."
    parser.add_argument(
        "--pictures",
        nargs="+",
        type=positive_int,
        default=list(PICTURES),
        metavar="N",
        help=f"numbers of pictures (default: {' '.join(map(str, PICTURES))})",
    )
    parser.add_argument(
        "--figure",
        action="append",
        metavar="NAME",
        help="a figure, as for spy-bench gate; may be repeated (default: privacy, leakage)",
    )
    parser.add_argument(
        "--score",
        type=non_negative_float,
        default=60.0,
        metavar="PERCENT",
        help="privacy score of the models (default: 60)",
    )
    parser.add_argument(
        "--items",
        type=positive_int,
        default=2,
        metavar="N",
        help="mean number of items per picture, each with five samples (default: 2)",
    )
    parser.add_argument(
        "--models",
        type=positive_int,
        default=2,
        metavar="N",
        help="models that are compared, all pairs; corrects the p values (default: 2)",
    )
    parser.add_argument(
        "--alike",
        type=non_negative_float,
        default=_ALIKE,
        metavar="SHARE",
        help="share of samples that two checkpoints of one model surely treat alike "
        f"(default: {_ALIKE})",
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N", help="seed (default: 0)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from spy_plugin.report.gate.rules import figure_key
    from spy_plugin.scoring.power import Assumptions, precisions
    from spy_plugin.scoring.stats import FEW_PICTURES

    if args.alike > 1:
        raise SpyBenchError(f"--alike is {args.alike:g}. It must be from 0 to 1.")
    if args.models < 2:
        raise SpyBenchError("--models is 1. A comparison needs at least 2.")
    if max(args.pictures) > MOST_PICTURES or args.items > MOST_ITEMS:
        raise SpyBenchError(
            f"this is more than can be simulated. Use at most {MOST_PICTURES:,} pictures and "
            f"{MOST_ITEMS} items."
        )
    names = args.figure or ["privacy", "leakage"]
    keys = [figure_key(name) for name in names]
    apart = Assumptions(score=args.score, items=args.items, models=args.models)
    near = Assumptions(score=args.score, items=args.items, models=args.models, alike=args.alike)
    counts = sorted(set(args.pictures))
    unrelated = precisions(counts, keys, apart, seed=args.seed)
    related = precisions(counts, keys, near, seed=args.seed)
    print("\n".join(_heading(apart, args.alike)))
    for index, (one, two) in enumerate(zip(unrelated, related, strict=True)):
        mark = "  few pictures: rough" if one.pictures < FEW_PICTURES else ""
        name = names[index % len(names)]
        cells = f"{one.width:>10.1f}{one.smallest:>14.1f}{two.smallest:>14.1f}"
        print(f"{one.pictures:>8,}  {name:<18}{cells}{mark}")
    return 0


def _heading(assumed: Assumptions, alike: float) -> list[str]:
    test = f"p < {1 - assumed.level:.2g}"
    if assumed.models > 2:
        test += f", corrected for all pairs of {assumed.models} models"
    return [
        f"Models with a privacy score of {assumed.score:g}, {assumed.items} items per picture, in "
        "points.",
        f"found: the smallest difference with {test} in {assumed.power:.0%} of cases, of two",
        f"unrelated models, and of checkpoints alike on {alike:.0%} of samples.",
        "",
        f"{'pictures':>8}  {'figure':<18}{'interval':>10}{'found':>14}{'found, alike':>14}",
    ]
