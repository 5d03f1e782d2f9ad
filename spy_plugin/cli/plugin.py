"""`spy-bench plugin`: let an untouched `python run.py` of VLMEvalKit see SPY-Bench, or not."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from spy_plugin.cli.option_types import any_path
from spy_plugin.hosts.hooks import VARIABLE, switched_off
from spy_plugin.hosts.pth_file import PthFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("status", "enable", "disable"))
    parser.add_argument(
        "--folder",
        type=any_path,
        help="where the file goes; by default this interpreter's site-packages",
    )


def run(args: argparse.Namespace) -> int:
    """Do it, and say what is now the case."""
    line = PthFile(args.folder) if args.folder else PthFile.here()
    if args.action == "enable":
        print(f"{'written' if line.enable() else 'was there already'}: {line.path}")
    elif args.action == "disable":
        print(f"{'removed' if line.disable() else 'was not there'}: {line.path}")
    state = "enabled" if line.enabled() else "disabled"
    print(f"VLMEvalKit's own run.py: {state} ({line.path})")
    if find_spec("vlmeval") is None:
        print("VLMEvalKit is not installed here. Install it with: pip install 'spy-bench[vlmeval]'")
    print("lmms-eval: sees SPY-Bench wherever spy-bench is installed, without this switch")
    if switched_off():
        print(f"both are off now: {VARIABLE} is set in this shell")
    return 0
