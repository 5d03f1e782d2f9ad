"""`spy-bench lab`: train a small model, align it by every method, compare them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.cli.option_types import positive
from spy_plugin.errors import SpyBenchError
from spy_plugin.lab import METHODS, SIZES

if TYPE_CHECKING:
    from spy_plugin.lab.sizes import LabSize

SHIPPED = "shipped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--size",
        choices=SIZES,
        default=SIZES[0],
        help="tiny: from nothing, on a laptop (default); small: from SmolLM2-135M, on a GPU",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="everything goes here (default: outputs/lab, or outputs/lab-small)",
    )
    parser.add_argument(
        "--base",
        metavar="DIR",
        help="align this base, or `shipped` for spy-tiny-base (default: train one)",
    )
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD"
    )
    parser.add_argument("--seeds", type=positive, default=1, help="alignments of each method")
    parser.add_argument("--steps", type=positive, help="of each alignment (default: the size's)")
    parser.add_argument("--base-steps", type=positive, help="of the base (default: the size's)")
    parser.add_argument("--processes", type=positive, default=1, help="of each alignment (DDP)")


def run(args: argparse.Namespace) -> int:
    """Run what is not there yet, then write the report."""
    from spy_plugin.compat.torchvision import declare_missing_ops
    from spy_plugin.lab import sizes, training
    from spy_plugin.lab.run import run_lab

    if training.PROMPTS_A_STEP // 2 % args.processes:
        raise SpyBenchError(
            f"{args.processes} processes cannot share a step's 16 rows evenly. "
            "Use 1, 2, 4, 8 or 16 for --processes."
        )
    declare_missing_ops()
    size = sizes.SIZES[args.size]
    plan = training.Plan(
        out=args.out or Path("outputs", "lab" if size is sizes.TINY else f"lab-{size.name}"),
        size=size,
        base=_base(args.base, size) if args.base else None,
        methods=tuple(args.methods),
        seeds=args.seeds,
        steps=args.steps or size.steps,
        base_steps=args.base_steps or size.base_steps,
        processes=args.processes,
    )
    results = run_lab(plan, say=print)
    print(f"report: {plan.out / 'lab.html'}")
    return 0 if results.runs else 1


def _base(named: str, size: LabSize) -> Path:
    """The folder of a base that was named.

    Raises:
        SpyBenchError: there is none.
    """
    from spy_plugin.lab import sizes
    from spy_plugin.models import packaged as models

    if named == SHIPPED and size is not sizes.TINY:
        raise SpyBenchError(
            f"no base of size {size.name} is shipped. Leave --base out to train one, or name the "
            "folder of one that you trained: its --out has it as `base`."
        )
    folder = models.folder("spy-tiny-base") if named == SHIPPED else Path(named)
    if not (folder / "config.json").is_file():
        raise SpyBenchError(f"{folder} holds no model. Name its folder, or say --base shipped.")
    return folder
