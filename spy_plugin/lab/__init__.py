"""The lab: a small vision-language model, trained from nothing, that learns to obey privacy."""

METHODS = ("sft", "dpo", "nca", "nca_priv")
"""Ways to align the base, in the order in which they are run and shown."""

BASE_STEPS = 2000
"""Optimizer steps of the base, after its tower."""

STEPS = 300
"""Of each alignment."""
