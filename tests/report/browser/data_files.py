"""Read the data files of the browser as the page does: a call with one JSON value."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_CALL = re.compile(r'spy\.receive\("([a-z0-9-]+)", (.*)\);\n', re.DOTALL)


def receive(path: Path) -> Any:
    """Return the value in a data file, which must name itself."""
    found = _CALL.fullmatch(path.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == path.stem
    return json.loads(found[2])


def unpack(text: str, kind: str = "<u1") -> npt.NDArray[Any]:
    """Return the numbers of a column."""
    return np.frombuffer(base64.b64decode(text), kind)
