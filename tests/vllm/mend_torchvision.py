"""Make torchvision importable beside a CPU build of torch in every process of an environment.

vLLM starts its own interpreters, so what `spy_plugin.compat.torchvision` does for one process is
written into the installed torchvision once: `python -m tests.vllm.mend_torchvision`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from spy_plugin.compat.torchvision import _SCHEMAS

_MARK = "# Declared for a CPU build of torch:\n"


def main() -> None:
    """Declare the operators that the installed torchvision registers fake kernels for."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    path = Path(spec.origin).with_name("_meta_registrations.py")
    text = path.read_text(encoding="utf-8")
    if _MARK in text or _has_its_operators():
        return
    lines = [f"_ops.define({name + schema!r})\n" for name, schema in _SCHEMAS.items()]
    library = 'import torch\n_ops = torch.library.Library("torchvision", "FRAGMENT")\n'
    path.write_text(_MARK + library + "".join(lines) + text, encoding="utf-8")


def _has_its_operators() -> bool:
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        return False
    return True


if __name__ == "__main__":
    main()
