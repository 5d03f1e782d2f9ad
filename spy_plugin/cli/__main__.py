"""`spy-bench`, and `python -m spy_plugin.cli`: Ctrl-C during the imports ends it in one line."""

import os
import signal
import sys


def main() -> int:
    """Run one command; returns what `cli.main.main` returns."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, _quit)
    from spy_plugin.cli.main import main as run

    return run()


def _quit(*_: object) -> None:
    # An exception would not do: an import of compiled code may turn it into another.
    os.write(2, b"spy-bench: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
