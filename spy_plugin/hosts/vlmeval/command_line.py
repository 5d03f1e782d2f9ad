"""The options on VLMEvalKit's command line that our launcher reads."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spy_plugin.errors import ALLOW_FAILED

CHECKOUT_VARIABLE = "VLMEVALKIT_DIR"


@dataclass
class Options:
    """The options that our launcher reads; the last two are our own, the others the host's."""

    data: list[str]
    model: list[str]
    mode: str
    judge: str | None
    judge_base_url: str | None
    judge_args: str | None
    base_url: str | None
    config: str | None
    reuse: bool
    api_mode: bool
    work_dir: Path
    checkout: Path | None
    allow_failed: bool


def parse(words: Sequence[str]) -> tuple[Options, list[str]]:
    """Read the options; return them and the words without our own options."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument(
        "--vlmevalkit", dest="checkout", type=Path, default=os.environ.get(CHECKOUT_VARIABLE)
    )
    own.add_argument(ALLOW_FAILED, action="store_true")
    ours, rest = own.parse_known_args(words)
    host = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    host.add_argument("--data", nargs="+", default=[])
    host.add_argument("--model", nargs="+", default=[])
    host.add_argument("--mode", default="all")
    host.add_argument("--judge")
    host.add_argument("--judge-base-url")
    host.add_argument("--judge-args")
    host.add_argument("--base-url")
    host.add_argument("--config")
    host.add_argument("--reuse", action="store_true")
    host.add_argument("--api-mode", action="store_true")
    host.add_argument("--work-dir", type=Path, default=Path("outputs"))
    known, _ = host.parse_known_args(rest)
    known.work_dir = Path(os.environ.get("MMEVAL_ROOT") or known.work_dir)
    return Options(**vars(known), **vars(ours)), rest


def own_limit(words: Sequence[str]) -> int | None:
    """The limit of new tokens that the user gave; None for the host's default, or nonsense."""
    host = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    host.add_argument("--max-tokens")
    given = host.parse_known_args(list(words))[0].max_tokens
    return int(given) if given and given.isdigit() else None
