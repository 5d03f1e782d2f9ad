"""End a process together with all that it has started."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import Any


def end_family(process: subprocess.Popen[Any], *, grace: float = 0) -> None:
    """End a process and its descendants, which may have sessions of their own; return once it has.

    The process comes first: it would report the end of the others as a failure.

    Args:
        grace: Seconds between asking them to end and killing those that have not; 0 kills at once.
    """
    import psutil

    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid)]
        family += family[0].children(recursive=True)
        if grace:
            for each in family:
                with suppress(psutil.NoSuchProcess):
                    each.terminate()
            family = psutil.wait_procs(family, grace)[1]
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()
