"""Let torchvision import beside a CPU build of torch.

A torchvision wheel built for CUDA does not load its compiled operators there, and then fails on
import because it registers fake kernels for operators that nobody declared. Declaring the missing
schemas is enough: whoever never calls these operators never notices.
"""

from __future__ import annotations

import importlib.util

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_kept: list[object] = []  # a torch.library.Library takes its schemas with it when collected


def declare_missing_ops() -> None:
    """Declare torchvision's operator schemas, but only if its import fails without them."""
    if _kept or importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return
    import sys

    import torch

    for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        library.define(name + schema)
    _kept.append(library)
