"""What the opt-in line in `site-packages` runs at every start of the interpreter.

It puts one finder on the import path, for half a millisecond. When VLMEvalKit's models are
imported, by its own `run.py` or anything else, our data sets and models are registered.
"""

from __future__ import annotations

from spy_plugin.hosts.post_import import after_import

TYPE_CHECKING = False  # as in post_import
if TYPE_CHECKING:
    from types import ModuleType


def install() -> None:
    """Register with VLMEvalKit as soon as it is imported."""
    # Not `vlmeval.dataset`: it is imported in the midst of this one.
    after_import("vlmeval.config", _register)


def _register(_: ModuleType) -> None:
    import logging

    from spy_plugin.hosts.switch import switched_off

    if switched_off():
        return
    try:
        from spy_plugin.hosts.vlmeval import register
        from spy_plugin.hosts.vlmeval.summary import extend_summary

        if register():
            extend_summary()
    except Exception:
        logging.getLogger(__name__).exception("SPY-Bench could not be added to VLMEvalKit")
