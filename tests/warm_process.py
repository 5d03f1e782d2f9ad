"""Programs that start without their imports: a process that has done them forks for each run.

The hosts import for eight processor seconds, then work for two. Each run is still a process of its
own with its own folder, environment and output, and it begins with the packages as they are after
the import. What a user's start does besides, at least one test of each host runs without this.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent


class WarmProcess:
    """Runs scripts in forks of one process, which starts with the first of them.

    Args:
        modules: What is imported before; ``module:function`` also calls the function.
        environment: Seen by the imports. Each run has an environment of its own.
    """

    def __init__(self, *modules: str, environment: Mapping[str, str]) -> None:
        self._modules = modules
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self,
        script: Path,
        words: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        timeout: float,
        merged: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script as `subprocess.run` does with `capture_output` and `text`.

        Args:
            script: Path of a Python file.
            words: Its arguments.
            cwd: Its working folder.
            environment: All of its environment.
            timeout: Seconds after which the process is ended.
            merged: Put stderr into stdout, in the order of writing.

        Raises:
            subprocess.TimeoutExpired: The run took longer.
        """
        argv = [str(script), *words]
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / ("out" if merged else "err")
            request = {
                "argv": argv,
                "cwd": str(cwd),
                "environment": dict(environment),
                "output": [str(out), str(err)],
            }
            code = self._ask(request, timeout)
            text = [path.read_text(encoding="utf-8") for path in (out, err)]
        return subprocess.CompletedProcess(argv, code, text[0], "" if merged else text[1])

    def _ask(self, request: dict[str, Any], timeout: float) -> int:
        if self._process is None:
            self._start()
        self._socket.settimeout(timeout)
        try:
            self._replies.write(json.dumps(request).encode() + b"\n")
            self._replies.flush()
            reply = self._replies.readline()
        except TimeoutError:
            self.close()
            raise subprocess.TimeoutExpired(request["argv"], timeout) from None
        except ConnectionError:
            reply = b""
        if not reply:
            self.close()
            raise RuntimeError(f"the process that imports {', '.join(self._modules)} has ended")
        return int(reply)

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm_process", str(theirs.fileno()), *self._modules],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._replies: IO[bytes] = self._socket.makefile("rwb")

    def close(self) -> None:
        """End the process, and a run that has not ended."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._replies.close()
        self._socket.close()


def _serve(descriptor: int) -> dict[str, Any] | None:
    """Fork for each request; return it in the fork, and None when no more come."""
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rwb") as stream:
        for line in stream:
            child = os.fork()
            if not child:
                request: dict[str, Any] = json.loads(line)
                return request
            _, status = os.waitpid(child, 0)
            stream.write(b"%d\n" % os.waitstatus_to_exitcode(status))
            stream.flush()
    return None


def _become(argv: list[str], cwd: str, environment: dict[str, str], output: list[str]) -> None:
    """Take on what a new process would have been given."""
    for descriptor, path in zip((1, 2), output, strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = argv
    sys.path[0] = str(Path(argv[0]).parent)


def main(descriptor: str, *modules: str) -> None:
    """Import, then serve; in a fork, run the script that was asked for."""
    for name in modules:
        module, _, function = name.partition(":")
        loaded = import_module(module)
        if function:
            getattr(loaded, function)()
    gc.freeze()  # or the collections of every run would go through them
    atexit.register(gc.unfreeze)  # or libraries report that their objects were not freed
    request = _serve(int(descriptor))
    if request is not None:
        _become(**request)
        runpy.run_path(request["argv"][0], run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
