"""A signal to a command that starts, is at work, or has ended: one line, and an orderly end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def python(text: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", text, *words], capture_output=True, text=True)


def test_an_interrupted_command_says_nothing_of_what_libraries_left_behind() -> None:
    """Triton's bindings would list hundreds of functions as leaked after the last message."""
    pytest.importorskip("triton")
    text = (
        "import sys, triton\n"
        "from spy_plugin.cli import main as cli\n"
        "def stop(words): raise KeyboardInterrupt\n"
        "cli._run = stop\n"
        "sys.exit(cli.main([]))\n"
    )
    done = python(text)
    assert (done.returncode, done.stderr) == (130, "spy-bench: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize(("before", "code"), [("SIG_DFL", 130), ("SIG_IGN", 0)])
def test_a_closed_terminal_ends_a_command_unless_nohup_has_it_ignored(
    before: str, code: int
) -> None:
    """A training in a session of its own would outlive the command otherwise."""
    text = (
        "import signal, sys\n"
        "from spy_plugin.cli import main as cli, power\n"
        f"signal.signal(signal.SIGHUP, signal.{before})\n"
        "power.run = lambda args: signal.raise_signal(signal.SIGHUP) or 0\n"
        "sys.exit(cli.main(['power']))\n"
    )
    done = python(text)
    assert (done.returncode, "interrupted" in done.stderr) == (code, code == 130)


INTERRUPTED_IMPORT = """
import signal, sys

_, module, before = sys.argv

class Finder:
    def find_spec(self, name, *_):
        if name == module:
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, getattr(signal, before))
sys.meta_path.insert(0, Finder())
from spy_plugin.cli.__main__ import main

sys.argv[1:] = ["generate", "--help"]
sys.exit(main())
"""


@pytest.mark.parametrize(
    "module",
    [
        "spy_plugin.cli.main",
        "argparse",
        "spy_plugin.cli.generate",
        "datetime",  # compiled code imports it, and replaces an exception by its own
    ],
)
@pytest.mark.parametrize(
    ("before", "code", "said"),
    [
        ("default_int_handler", 130, "spy-bench: interrupted\n"),
        ("SIG_IGN", 0, ""),
    ],
)
def test_an_interrupt_during_the_imports_is_one_line_unless_it_is_ignored(
    module: str, before: str, code: int, said: str
) -> None:
    done = python(INTERRUPTED_IMPORT, module, before)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_command_at_work_is_interrupted_in_good_order(kind: str) -> None:
    text = (
        "import signal, sys\n"
        # As in a terminal: `nohup` and background jobs of a script have some ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "from spy_plugin.cli import power\n"
        "from spy_plugin.cli.__main__ import main\n"
        "def run(args):\n"
        f"    try: signal.raise_signal(signal.{kind})\n"
        "    finally: print('saved')\n"
        "power.run = run\n"
        "sys.argv[1:] = ['power']\n"
        "sys.exit(main())\n"
    )
    done = python(text)
    assert (done.returncode, done.stdout) == (130, "saved\n")
    assert done.stderr == "spy-bench: interrupted\n"
