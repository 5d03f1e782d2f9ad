"""`spy-bench lab`: train a small model, align it by each method, and compare the results."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.cli.option_types import folder_path, positive_int
from spy_plugin.errors import MissingDependencyError, SpyBenchError
from spy_plugin.lab import METHODS, PREFIX_SHARING, SIZES

if TYPE_CHECKING:
    from spy_plugin.lab.sizes import LabSize

SHIPPED = "shipped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--size",
        choices=SIZES,
        default=SIZES[0],
        help="tiny: from random weights, on a laptop (default); small: from SmolLM2-135M, on a GPU",
    )
    parser.add_argument(
        "--out",
        type=folder_path,
        metavar="DIR",
        help="output folder (default: outputs/lab, or outputs/lab-small)",
    )
    parser.add_argument(
        "--base",
        metavar="DIR",
        help="base model to align, or `shipped` for spy-tiny-base (default: train one)",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=list(METHODS),
        metavar="METHOD",
        help=f"methods to align by: {', '.join(METHODS)} (default: all)",
    )
    parser.add_argument("--seeds", type=positive_int, default=1, help="alignments of each method")
    parser.add_argument(
        "--steps", type=positive_int, help="steps of each alignment (default: the size's)"
    )
    parser.add_argument(
        "--base-steps", type=positive_int, help="steps of the base (default: the size's)"
    )
    parser.add_argument(
        "--prefix-sharing",
        nargs="+",
        choices=PREFIX_SHARING,
        default=[PREFIX_SHARING[0]],
        metavar="HOW",
        help=f"align with each of these values of the trainer's prefix_sharing: "
        f"{', '.join(PREFIX_SHARING)} (default: {PREFIX_SHARING[0]}, that of the ready settings)",
    )
    parser.add_argument("--processes", type=positive_int, default=1, help="per alignment (DDP)")
    parser.add_argument(
        "--jobs",
        type=positive_int,
        default=1,
        metavar="N",
        help="alignments and evaluations at the same time, each on its share of the CPU cores",
    )
    parser.add_argument(
        "--until",
        choices=("base", "align", "report"),
        default="report",
        help="stop after this stage; base and align need no host (default: report)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the stages that are not done yet, then write the report."""
    _require_training()
    from spy_plugin.compat.torchao import quiet_torchao
    from spy_plugin.compat.torchvision import declare_missing_ops
    from spy_plugin.lab import sizes, stages
    from spy_plugin.lab.run import run_lab, train_lab

    if stages.PROMPTS_PER_STEP // 2 % args.processes:
        raise SpyBenchError(
            f"--processes {args.processes} does not divide the 16 rows of a step evenly. "
            "Use 1, 2, 4, 8 or 16."
        )
    if args.until == "report":
        _require_host()
    declare_missing_ops()
    quiet_torchao()
    size = sizes.SIZES[args.size]
    plan = stages.Plan(
        out=args.out or Path("outputs", "lab" if size is sizes.TINY else f"lab-{size.name}"),
        size=size,
        base=_base(args.base, size) if args.base else None,
        methods=tuple(dict.fromkeys(args.methods)),
        seeds=args.seeds,
        steps=args.steps or size.steps,
        base_steps=args.base_steps or size.base_steps,
        processes=args.processes,
        prefix_sharing=tuple(dict.fromkeys(args.prefix_sharing)),
        jobs=args.jobs,
    )
    if args.until != "report":
        train_lab(plan, say=print, alignments=args.until == "align")
        print(f"models: {plan.out}. The same command without --until continues from there.")
        return 0
    results = run_lab(plan, say=print)
    print(f"report: {plan.out / 'lab.html'}")
    return 0 if results.runs else 1


def _require_training() -> None:
    """Refuse, before anything is drawn, what cannot be trained.

    Raises:
        MissingDependencyError: a package of the extra `train` is not installed.
    """
    for package in ("torch", "transformers", "trl"):
        if find_spec(package) is None:
            raise MissingDependencyError(package, "train")


def _require_host() -> None:
    """Refuse to train for hours what cannot be evaluated.

    Raises:
        SpyBenchError: VLMEvalKit is not installed.
    """
    from spy_plugin.hosts.vlmeval.command_line import CHECKOUT_VARIABLE

    if find_spec("vlmeval") is None and not os.environ.get(CHECKOUT_VARIABLE):
        raise SpyBenchError(
            "VLMEvalKit, which evaluates the models, is not installed. Install it with: "
            "pip install 'spy-bench[vlmeval]', or pass --until align and evaluate elsewhere."
        )


def _base(named: str, size: LabSize) -> Path:
    """The folder of the base that `--base` names.

    Raises:
        SpyBenchError: It does not exist.
    """
    from spy_plugin.lab import sizes
    from spy_plugin.models import packaged as models

    if named == SHIPPED and size is not sizes.TINY:
        raise SpyBenchError(
            f"--base shipped: there is no shipped base of size {size.name}. Omit --base to train "
            "one, or pass the folder `base` in the --out of an earlier run."
        )
    folder = models.folder("spy-tiny-base") if named == SHIPPED else Path(named)
    if not (folder / "config.json").is_file():
        raise SpyBenchError(
            f"--base {folder}: the folder does not contain a model. "
            "Pass the folder of a model, or --base shipped."
        )
    return folder
