"""`spy-bench run HOST -- ...`: one launcher for both hosts, with the combined report at the end."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("host", choices=("vlmeval", "lmms-eval"))
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="-- ...",
        help="the host's own command line",
    )


def run(args: argparse.Namespace) -> int:
    """Run the host in this process."""
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if args.host == "vlmeval":
        from spy_plugin.hosts.vlmeval.run import main as run_vlmeval

        return run_vlmeval(words)
    from spy_plugin.hosts.lmms.run import run_lmms_eval

    return run_lmms_eval(words)
