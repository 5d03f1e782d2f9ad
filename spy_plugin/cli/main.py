"""The `spy-bench` command. Only the module of the chosen command is imported."""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from spy_plugin import __version__
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.home import system_problem

logger = logging.getLogger(__name__)

COMMANDS = {
    "data": "get, check, show and convert the official data",
    "new": "make a benchmark from your own pictures",
    "samples": "print every sample of a release, or of the embedded benchmark, as JSON lines",
    "report": "combine results of any host into one report",
    "view": "look at every sample of some results in a browser",
    "bundle": "put a run into one file that others can check",
    "verify": "check a bundle, and say what cannot be checked",
    "export-results": "write scores where the Hugging Face hub looks for them",
    "score": "turn verdicts into the paper's figures",
    "gate": "stop a release whose figures are worse than allowed",
    "power": "say how many pictures are enough",
    "doctor": "show what is installed, what is wrong, and how to fix it",
    "models": "list the models known by name, or show how to run one",
    "generate": "let a model answer every sample, through vLLM or a server",
    "self-moderate": "let the model reconsider its answers in two more turns",
    "merge": "put the answers of a run's shards together",
    "export-run": "give a file of answers to VLMEvalKit as a finished run",
    "judge": "turn a file of answers into verdicts",
    "matrix": "run many models under several conditions, judge them, and report",
    "judge-check": "measure a judge on known examples, or compare two",
    "train": "train a model by one of the paper's methods",
    "lab": "train a small model and watch it learn to obey",
    "run": "run VLMEvalKit or lmms-eval, and report",
    "plugin": "let an untouched run.py of VLMEvalKit see SPY-Bench, or not",
}
"""Command -> help. The code of `a-b` is `spy_plugin/cli/a_b.py`."""

_FIRST_RESULT = """\
a first result, without a download, a GPU or a key:
  spy-bench generate --backend policy --model spy-literal --benchmark mini
  spy-bench judge outputs/spy-literal_SPYBench_MINI_answers.jsonl
  spy-bench report outputs --out report
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success, 1 on an error that its message explains, 2 on a wrong command line, 130 when
        interrupted; `gate` and `verify` have codes of their own.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _prepare_output()
    try:
        _refuse_undecoded(words)
        return _run(words)
    except SpyBenchError as error:
        print(f"spy-bench: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("spy-bench: interrupted", file=sys.stderr)
        gc.freeze()  # the collection at the end of Python takes seconds where torch is loaded
        atexit.register(_drop, 2)  # Triton's bindings list all that was not collected
        return 130
    except BrokenPipeError:
        _drop(sys.stdout.fileno())  # the reader (`head`) has gone
        return 0
    except OSError as error:
        # A file or folder of the user's; what a command can say better, it says itself.
        logger.debug("the error's origin", exc_info=error)
        print(f"spy-bench: error: {system_problem(error)}", file=sys.stderr)
        return 1


def _drop(stream: int) -> None:
    """Let nothing more be seen of what is written to a file descriptor, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def _prepare_output() -> None:
    """Let every text be printed, and what libraries say leave a progress bar whole."""
    # None if closed by the caller, as in `spy-bench ... >&-`.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for package in ("spy_plugin", "trl_ext"):
        logging.getLogger(package).setLevel(logging.INFO)
    logging.captureWarnings(True)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM (of `kill`, Slurm, a container's end) and SIGHUP interrupt a command.

    SIGHUP is that of a closed terminal, which processes in a session of their own never get;
    `nohup` has it ignored, as a shell without job control has SIGINT.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignorable = [signal.SIGINT] if os.name == "nt" else [signal.SIGINT, signal.SIGHUP]
    kinds = [kind for kind in ignorable if signal.getsignal(kind) != signal.SIG_IGN]
    before = {
        kind: signal.signal(kind, signal.default_int_handler) for kind in [signal.SIGTERM, *kinds]
    }
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _refuse_undecoded(words: list[str]) -> None:
    """Refuse bytes of the command line that this locale cannot decode: nothing can store them."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise SpyBenchError(
                f"the argument {word!a} is not text in this locale. Set PYTHONUTF8=1 or "
                "LC_ALL=C.UTF-8, or choose another name."
            ) from error


def parse(words: list[str]) -> tuple[argparse.Namespace, ModuleType]:
    """Parse a command line; returns its options and the module that runs it.

    Raises:
        SystemExit: the command line is wrong, or asks for help.
    """
    parser = argparse.ArgumentParser(
        prog="spy-bench",
        description="Personalized privacy protection of vision-language models.",
        epilog=_FIRST_RESULT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"spy-bench {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    module = ModuleType("none")
    for name, text in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=text, description=text)
        if name == chosen:
            module = importlib.import_module(f"spy_plugin.cli.{name.replace('-', '_')}")
            module.add_arguments(subparser)
    if not words:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    return parser.parse_args(words), module


def _run(words: list[str]) -> int:
    try:
        args, module = parse(words)
        with _orderly_end():
            code: int = module.run(args)
            sys.stdout.flush()
    except SystemExit:
        sys.stdout.flush()  # argparse's help text may still be in the buffer
        raise
    return code


if __name__ == "__main__":
    sys.exit(main())
