"""The names by which one's own benchmark is recognized, without reading its form."""

from __future__ import annotations

FORM_FILE = "benchmark.yaml"
ITEMS_FILE = "items.csv"

PREFIX = "own:"
"""Begins the name of every benchmark that was opened from a form: ``own:NAME@CONTENT``."""
