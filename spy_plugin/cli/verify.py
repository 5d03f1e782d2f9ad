"""`spy-bench verify`: check a bundle, and say what cannot be checked."""

from __future__ import annotations

import argparse

from spy_plugin.cli.benchmark_options import (
    add_benchmark_arguments,
    is_named,
    open_from_arguments,
)
from spy_plugin.cli.option_types import any_path

OK, FAILED, NOT_ALL = 0, 1, 2
"""Exit codes."""

_NEVER = (
    "Not shown by any check: that the model named gave these answers, and that its host was set "
    "as recorded."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.epilog = "Exit code: 0 ok, 1 a check failed, 2 none failed, but some could not be made."
    parser.add_argument("bundle", type=any_path, metavar="BUNDLE", help="of spy-bench bundle")
    parser.add_argument(
        "--rejudge",
        action="store_true",
        help="also run an offline judge again that needs a model of its own (minilm)",
    )
    add_benchmark_arguments(parser, required=False)


def run(args: argparse.Namespace) -> int:
    """Print a line per check; returns the exit code."""
    from spy_plugin.sharing.findings import Status, overall
    from spy_plugin.sharing.verify import verify_bundle

    benchmark = open_from_arguments(args) if is_named(args) else None
    findings = []
    shown = ""
    for finding in verify_bundle(args.bundle, benchmark=benchmark, rejudge=args.rejudge):
        if finding.run != shown:
            shown = finding.run
            print(f"\n{shown}")
        detail = " ".join(finding.detail.split())  # a bundle's words must not look like a check
        print(f"  {finding.check:<10}{finding.status.value:<19}{detail}")
        findings.append(finding)
    status = overall(findings)
    print(
        f"\n{_NEVER}\nbundle: {status.value if status is not Status.CANNOT else 'not all checked'}"
    )
    return {Status.OK: OK, Status.FAILED: FAILED, Status.CANNOT: NOT_ALL}[status]
