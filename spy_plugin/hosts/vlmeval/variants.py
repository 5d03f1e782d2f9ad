"""Our data sets in VLMEvalKit, by name."""

from __future__ import annotations

from spy_plugin.registry.catalog import variants

VARIANTS = {variant.vlmeval: variant for variant in variants()}
