"""Let torchvision be imported beside a CPU build of torch.

A torchvision wheel built for CUDA does not load its compiled operators there. Its import then
fails, because it registers fake kernels for operators that nobody has declared. Declaring their
schemas is enough for everybody who does not call these operators.

`declare_missing_ops` does so in the running process. ``python -m spy_plugin.compat.torchvision``
does so for every process of the environment, by lines of its own in the installed torchvision;
reinstalling torchvision removes them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_SYMPTOM = "torchvision::nms"

_kept: list[object] = []  # a torch.library.Library removes its schemas when it is collected

_FILE = "_meta_registrations.py"
_LINES = "".join(
    [
        "# Added by `python -m spy_plugin.compat.torchvision`, for a CPU build of torch:\n",
        'import torch\n_declared = torch.library.Library("torchvision", "FRAGMENT")\n',
        *(f"_declared.define({name + schema!r})\n" for name, schema in _SCHEMAS.items()),
    ]
)


def declare_missing_ops() -> None:
    """Declare torchvision's operator schemas in this process if its import fails without them."""
    if _kept or importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if _SYMPTOM not in str(error):
            raise
    else:
        return
    import torch

    for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        library.define(name + schema)
    _kept.append(library)


def main() -> int:
    """Fix the installed torchvision, if it needs that.

    Returns:
        0 if torchvision can be imported now or is not installed, otherwise 1.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        print("torchvision is not installed: nothing to fix")
        return 0
    error = _import_error()
    if not error:
        print("torchvision can be imported: nothing to fix")
        return 0
    if _SYMPTOM in error:
        path = Path(spec.origin).with_name(_FILE)
        original = path.read_text(encoding="utf-8")
        _replace(path, _LINES + original)
        error = _import_error()
        if not error:
            print(f"fixed for a CPU build of torch: {path}")
            return 0
        _replace(path, original)
    print(f"torchvision cannot be imported, and this cannot fix it: {error}", file=sys.stderr)
    return 1


def _import_error() -> str:
    """Return why a fresh interpreter cannot import torchvision; empty if it can."""
    command = [sys.executable, "-c", "import torchvision"]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
    return lines[-1] if ran.returncode else ""


def _replace(path: Path, text: str) -> None:
    """Write a new file in the place of the old one, which other environments may link to."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    shutil.copymode(path, temporary)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
