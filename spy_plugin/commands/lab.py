"""`spy-bench lab`: train a small model from nothing, align it by every method, compare them."""

from __future__ import annotations

import argparse
from pathlib import Path

from spy_plugin.lab import BASE_STEPS, METHODS, STEPS
from spy_plugin.option_types import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/lab"), metavar="DIR", help="everything goes here"
    )
    parser.add_argument(
        "--base",
        metavar="DIR",
        help="align this base, or `shipped` for spy-tiny-base (default: train one from nothing)",
    )
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD"
    )
    parser.add_argument("--seeds", type=positive, default=1, help="alignments of each method")
    parser.add_argument("--steps", type=positive, default=STEPS, help="of each alignment")
    parser.add_argument("--base-steps", type=positive, default=BASE_STEPS, help="of the base")
    parser.add_argument("--processes", type=positive, default=1, help="of each alignment (DDP)")


def run(args: argparse.Namespace) -> int:
    """Run what is not there yet, then write the report."""
    from spy_plugin.errors import SpyBenchError
    from spy_plugin.hosts.torchvision_compat import declare_missing_ops
    from spy_plugin.lab import models, training
    from spy_plugin.lab.run import run_lab

    if training.PROMPTS_A_STEP // 2 % args.processes:
        raise SpyBenchError(
            f"{args.processes} processes cannot share a step's 16 rows evenly. "
            "Use 1, 2, 4, 8 or 16 for --processes."
        )
    declare_missing_ops()
    base = models.folder("spy-tiny-base") if args.base == "shipped" else args.base
    if base is not None and not (Path(base) / "config.json").is_file():
        raise SpyBenchError(f"{base} holds no model. Name its folder, or say --base shipped.")
    plan = training.Plan(
        out=args.out,
        base=Path(base) if base else None,
        methods=tuple(args.methods),
        seeds=args.seeds,
        steps=args.steps,
        base_steps=args.base_steps,
        processes=args.processes,
    )
    results = run_lab(plan, say=print)
    print(f"report: {args.out / 'lab.html'}")
    return 0 if results.runs else 1
