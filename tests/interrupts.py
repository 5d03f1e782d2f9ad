"""Interrupts at every moment of some work, as Ctrl-C may come at any."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import spy_plugin

PACKAGE = str(Path(spy_plugin.__file__).parent)


def interrupted(work: Callable[[], object], moment: int) -> bool:
    """Do some work, and raise `KeyboardInterrupt` before one of the lines that it runs.

    Args:
        moment: Which line of the package's own code, counted from 1 as they are run.

    Returns:
        Whether the work was interrupted; False if it ended before.
    """
    passed = 0

    def interrupt(frame: FrameType, event: str, _: object) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            passed += 1
            if passed == moment:
                raise KeyboardInterrupt
        return interrupt

    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
