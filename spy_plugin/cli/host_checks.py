"""Whether an installed host works with us, found out by running it in an interpreter of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 600
"""Time limit of one check: a host imports for a minute on a slow disk."""

_MODEL = "spy-oracle"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class HostCheck:
    """How to look at a host.

    Attributes:
        imports: Code that says in `seen` whether we and the package meet.
        command: Words after `python` that score one sample of the embedded benchmark through the
            host's own command line; empty for a package that scores nothing.
        results: Pattern of the file that the command must leave; lmms-eval exits with 0 even when
            it failed.
        switched: The variable `hosts.hooks.VARIABLE` keeps us out of it.
    """

    imports: str
    command: tuple[str, ...] = ()
    results: str = ""
    switched: bool = True


HOST_CHECKS = {
    "vlmeval": HostCheck(
        "from spy_plugin.compat.torchvision import declare_missing_ops\n"
        "declare_missing_ops()\n"
        "from spy_plugin.hosts.vlmeval.registration import register\n"
        "import vlmeval.dataset\n"
        "seen = register() and 'SPYBench' in vlmeval.dataset.SUPPORTED_DATASETS\n",
        (
            *("-m", "spy_plugin.cli", "run", "vlmeval", "--"),
            *("--data", "SPYBench_MINI", "--model", _MODEL, "--limit", "1"),
        ),
        "outputs/**/*_spy_scores.json",
    ),
    "lmms": HostCheck(
        "import lmms_eval.models\n"
        "from spy_plugin.hosts.lmms.plugin import POLICY_MODEL\n"
        "seen = POLICY_MODEL in lmms_eval.models.MODEL_REGISTRY_V2.list_model_names()\n",
        (
            *("-m", "lmms_eval", "--tasks", "spy_bench_mini_distractors", "--limit", "1"),
            *("--model", "spy_policy", "--model_args", f"model={_MODEL}"),
            *("--output_path", "outputs"),
        ),
        "outputs/**/*_results.json",
    ),
    "inspect": HostCheck(
        "import spy_bench\n"
        "from importlib.metadata import entry_points\n"
        "seen = any(entry.name == 'spy_bench' for entry in entry_points(group='inspect_ai'))\n",
        (
            *("-m", "inspect_ai", "eval", "spy_bench/spy_bench_mini", "--limit", "1"),
            *("--model", f"spy/{_MODEL}", "--display", "plain", "--log-dir", "outputs"),
        ),
        "outputs/*.eval",
        switched=False,  # nothing of ours acts there unless it is named
    ),
    "train": HostCheck(
        "from trl_ext import NCAPrivTrainer\n"
        "from trl import DPOTrainer\n"
        "seen = issubclass(NCAPrivTrainer, DPOTrainer)\n"
    ),
}
"""Extra -> how to check what it installs."""


def check_host(extra: str, *, quick: bool) -> str:
    """Score one sample through a host or only import it, if `quick` or not a host.

    Returns:
        What went wrong, in one line; empty if nothing did.
    """
    check = HOST_CHECKS[extra]
    if quick or not check.command:
        return _run(["-c", f"{check.imports}import sys\nsys.exit(0 if seen else {_UNSEEN!r})"])
    return _run(check.command, check.results)


_UNSEEN = "it was imported, but SPY-Bench is not registered in it"


def _run(words: Sequence[str], results: str = "") -> str:
    """Run Python in an empty folder; see `check_host`."""
    with tempfile.TemporaryDirectory(prefix="spy-bench-doctor-") as name:
        folder = Path(name)
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=folder,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                return f"it did not end within {SECONDS} s"
            finally:
                _kill(process)
        if code == 0 and (not results or any(folder.glob(results))):
            return ""
        silent = f"exit code {code}" if code else "it left no results"
        return _reason(log.read_text(encoding="utf-8", errors="replace")) or silent


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, and what it started."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _reason(log: str) -> str:
    """Return the last line of the last traceback, else the last line that names an error."""
    lines = [line.strip() for line in _ANSI.sub("", log).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    named = [line for line in lines if re.search("error", line, re.IGNORECASE)]
    return (raised or named or lines or [""])[-1][:300]
