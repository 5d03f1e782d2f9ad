"""What the opt-in line in `site-packages` runs when VLMEvalKit is first imported; see `site_line`.

When the host's models are imported, by its own `run.py` or anything else, our data sets and models
are registered.
"""

from __future__ import annotations

import logging
from types import ModuleType

from spy_plugin.hosts.post_import import after_import
from spy_plugin.hosts.switch import switched_off

logger = logging.getLogger(__name__)


def install() -> None:
    """Register with VLMEvalKit as soon as its models are imported."""
    if not switched_off():
        # Not `vlmeval.dataset`: it is imported in the midst of this one.
        after_import("vlmeval.config", _register)


def _register(_: ModuleType) -> None:
    try:
        from spy_plugin.hosts.vlmeval import register
        from spy_plugin.hosts.vlmeval.summary import extend_summary

        if register():
            extend_summary()
    except Exception:
        logger.exception("SPY-Bench could not be added to VLMEvalKit")
