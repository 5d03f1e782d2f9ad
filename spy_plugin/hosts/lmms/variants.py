"""Our tasks in lmms-eval, by name."""

from __future__ import annotations

from spy_plugin.registry.catalog import variants

TASKS = {variant.lmms: variant for variant in variants()}
