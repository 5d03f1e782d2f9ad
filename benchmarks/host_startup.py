"""Measure the time that SPY-Bench adds to the start of each host.

    python benchmarks/host_startup.py [--rounds 20]

lmms-eval starts with and without our entry point, and with and without the opt-in line for
VLMEvalKit; VLMEvalKit starts through our run.py and alone. Runs alternate. The result is the ratio
of median processor times (user and system), which other work on the machine disturbs less than wall
clock time.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from spy_plugin.hosts.hooks import VARIABLE
from spy_plugin.hosts.pth_file import PthFile

# The host alone, with the fix that lets torchvision load beside a CPU build of torch.
BARE_VLMEVALKIT = """
import runpy, sys
from spy_plugin.compat.torchvision import declare_missing_ops
declare_missing_ops()
sys.argv = ["run.py", "--help"]
runpy.run_module("vlmeval", run_name="__main__", alter_sys=True)
"""
RUN_PY = Path(__file__).resolve().parent.parent / "run.py"
LMMS_EVAL = str(Path(sys.executable).with_name("lmms-eval"))
GOAL = 1.01


def main() -> int:
    """Measure and print; return 0 if the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        PthFile(site).enable()
        # Python reads `.pth` files only from site folders; this makes the folder one.
        (site / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({folder!r})\n")
        empty = site / "empty"
        empty.mkdir()
        (empty / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({str(empty)!r})\n")
        ratios = {
            "lmms-eval --help, installed / switched off": compare(
                [LMMS_EVAL, "--help"], {}, {VARIABLE: "off"}, rounds
            ),
            "lmms-eval models, installed / switched off": compare(
                [LMMS_EVAL, "models"], {}, {VARIABLE: "off"}, rounds
            ),
            "lmms-eval --help, opt-in line / none": compare(
                [LMMS_EVAL, "--help"],
                {"PYTHONPATH": str(site)},
                {"PYTHONPATH": str(empty)},
                rounds,
            ),
        }
    ratios["VLMEvalKit --help, our run.py / the host alone"] = compare_commands(
        [sys.executable, str(RUN_PY), "--help"],
        [sys.executable, "-c", BARE_VLMEVALKIT],
        max(2, rounds // 5),
    )
    for name, ratio in ratios.items():
        print(f"{ratio:.4f}  {name}")
    return 0 if ratios["lmms-eval --help, installed / switched off"] < GOAL else 1


def compare(
    command: list[str], with_us: dict[str, str], without: dict[str, str], rounds: int
) -> float:
    """Ratio of median processor times of a command with and without us; runs alternate."""
    return _ratio(lambda: seconds(command, with_us), lambda: seconds(command, without), rounds)


def compare_commands(with_us: list[str], without: list[str], rounds: int) -> float:
    """The same ratio for two commands."""
    return _ratio(lambda: seconds(with_us, {}), lambda: seconds(without, {}), rounds)


def _ratio(one: Callable[[], float], other: Callable[[], float], rounds: int) -> float:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            times[which].append((one, other)[which]())
    return statistics.median(times[0]) / statistics.median(times[1])


def seconds(command: list[str], env: dict[str, str]) -> float:
    """Processor seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=os.environ | env, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
