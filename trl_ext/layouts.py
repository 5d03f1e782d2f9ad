"""The layouts by name, imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from trl_ext.sequences import Layout

LAYOUTS = {
    "off": "trl_ext.plain_batch:completion_log_probs",
    "auto": "trl_ext.plain_batch:completion_log_probs",
}


def load_layout(name: str) -> Layout:
    """The layout called `name`, one of `LAYOUTS`.

    Raises:
        KeyError: for a name that is not there.
    """
    module, function = LAYOUTS[name].split(":")
    return cast(Layout, getattr(import_module(module), function))
