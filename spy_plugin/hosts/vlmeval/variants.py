"""Our data sets in VLMEvalKit, by name."""

from __future__ import annotations

from spy_plugin.registry import variants

# Self-moderation takes a model through three turns, which the host's local classes cannot do.
VARIANTS = {v.vlmeval: v for v in variants() if not v.self_moderation}
